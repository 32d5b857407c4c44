//! A purchase and its return at the same moment, from different tasks: neither misses the other.

use std::collections::BTreeMap;

use shopctl::pipeline::cache::store::{CacheStore, Take};
use shopctl::pipeline::trade::{EarlyReturn, NewOrder, PutOutcome, Taken};
use tokio::task::JoinSet;

use super::pending::{Shop, bought, early, lines, order};
use super::*;

/// Orders per call; the two sides cut their calls in different places and go through them in different directions.
const PER_CALL: i64 = 7;
/// Pairs of each race.
const EMBEDDED_PAIRS: i64 = 10_000;
/// On a server, where every call waits for several answers.
const SERVED_PAIRS: i64 = 3_000;
/// Workers on each side.
const WORKERS: i64 = 4;

/// How often each return was dealt with: by the task that brought it, or by one that took it.
type Dealt = BTreeMap<u64, u32>;

fn count(dealt: &mut Dealt, lines: impl IntoIterator<Item = u64>) {
    for line in lines {
        *dealt.entry(line).or_default() += 1;
    }
}

/// Brings the returns of every WORKERS-th order; answers those that it had to deal with itself, and how many were held.
async fn bring(store: Arc<dyn CacheStore>, by: TaskKey, worker: i64, pairs: i64) -> (Vec<u64>, usize) {
    let (mut known, mut held) = (Vec::new(), 0);
    let mut numbers: Vec<i64> = (1..=pairs).filter(|number| number % WORKERS == worker).collect();
    if worker % 2 == 1 {
        numbers.reverse();
    }
    for chunk in numbers.chunks(PER_CALL as usize) {
        let returns: Vec<EarlyReturn> = chunk.iter().map(|number| early(number.unsigned_abs(), *number)).collect();
        let outcomes = store.put(&by, &returns).await.unwrap();
        for (entry, outcome) in returns.iter().zip(outcomes) {
            match outcome {
                PutOutcome::Known(_) => known.push(entry.line),
                PutOutcome::Held => held += 1,
            }
        }
    }
    (known, held)
}

/// Records a stretch of orders and takes what waits for them, twice: the first answer may have been lost.
async fn buy(store: Arc<dyn CacheStore>, by: TaskKey, worker: i64, pairs: i64) -> Vec<Taken> {
    let mut all = Vec::new();
    let stretch = (1..=pairs).filter(|number| number * WORKERS / (pairs + 1) == worker);
    let mut numbers: Vec<i64> = stretch.collect();
    if worker % 2 == 0 {
        numbers.reverse();
    }
    for chunk in numbers.chunks(PER_CALL as usize + 3) {
        let orders: Vec<NewOrder> = chunk.iter().copied().map(bought).collect();
        let (_, first) = store.record_and_take(&by, &orders).await.unwrap();
        let (_, second) = store.record_and_take(&by, &orders).await.unwrap();
        assert_eq!(lines(&first), lines(&second));
        all.extend(first);
    }
    all
}

/// All of it at once. The returns are brought by tasks of `from`, the purchases are made by tasks of `to`.
async fn race(backend: &dyn Backend, pairs: i64, from: u64, to: u64) {
    let shop = Shop::open(backend).await;
    let (mut bringing, mut buying) = (JoinSet::new(), JoinSet::new());
    for worker in 0..WORKERS {
        let task = u32::try_from(worker).unwrap();
        bringing.spawn(bring(Arc::clone(&shop.store), key(100 + task, from), worker, pairs));
        buying.spawn(buy(Arc::clone(&shop.store), key(200 + task, to), worker, pairs));
    }
    let mut dealt = Dealt::new();
    let mut held = 0;
    for (known, held_here) in bringing.join_all().await {
        assert!(from == to || known.is_empty(), "only the order's own shard deals with a return at once");
        count(&mut dealt, known);
        held += held_here;
    }
    let mut released = 0;
    for taken in buying.join_all().await {
        released += taken.len();
        count(&mut dealt, lines(&taken));
    }
    if from == to {
        assert!(shop.store.take(&key(300, to), Take::Shard, 10_000).await.unwrap().is_empty(), "none is stuck");
    } else {
        // Returns of orders that were known already wait for the next task of the order's shard.
        let handed = shop.store.take(&key(300, to), Take::Shard, 10_000).await.unwrap();
        released += handed.len();
        count(&mut dealt, lines(&handed));
    }
    assert_eq!(held, released, "held once, released once");
    assert_eq!(dealt.len() as i64, pairs, "none is lost");
    assert!(dealt.values().all(|times| *times == 1), "none is dealt with twice");
    assert_eq!(shop.store.backlog().await.unwrap().waiting, 0);
    assert_eq!(shop.store.look_up(&[order(1), order(pairs)]).await.unwrap().len(), 2);
    shop.store.close().await;
}

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_pair_is_stuck() {
        race(&Sqlite::fresh(), EMBEDDED_PAIRS, 0, 0).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_pair_of_two_shards_is_stuck() {
        race(&Sqlite::fresh(), EMBEDDED_PAIRS, 0, 1).await;
    }
}

mod on_mariadb {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_pair_is_stuck() {
        race(&served::Served::mariadb(), SERVED_PAIRS, 0, 0).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_pair_of_two_shards_is_stuck() {
        race(&served::Served::mariadb(), SERVED_PAIRS, 0, 1).await;
    }
}

mod on_mysql {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_pair_is_stuck() {
        race(&served::Served::mysql(), SERVED_PAIRS, 0, 0).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_pair_of_two_shards_is_stuck() {
        race(&served::Served::mysql(), SERVED_PAIRS, 0, 1).await;
    }
}
