//! The order directory and the returns that wait: each return is held once, and released or expired once.

use shopctl::pipeline::cache::open::open_cache;
use shopctl::pipeline::cache::store::{CachePolicy, CacheStore, Forgotten, Take};
use shopctl::pipeline::trade::{
    Backlog, EarlyReturn, HeldState, NewOrder, OrderId, OrderState, PutOutcome, RecordedAs, Taken,
};

use super::*;

on_every_backend! {
    the_first_entry_of_an_order_stays
    a_return_of_a_known_order_is_not_held_by_its_own_shard
    a_return_waits_and_is_taken_with_its_order
    the_same_task_gets_the_same_and_no_other_task_does
    a_task_that_comes_again_holds_what_it_held
    a_return_of_another_shard_is_handed_to_it
    what_comes_later_is_for_the_next_task
    time_that_is_up_is_told_once
    no_time_is_up_that_is_not_up_before_a_file_that_is_undecided
    an_order_in_time_is_no_orphan
    a_task_that_is_done_frees_its_place_and_is_forgotten_later
    notes_of_tasks_are_forgotten_batch_by_batch
    the_cap_holds_returns_back_and_loses_none
    another_content_of_a_line_is_refused
    a_whole_call_is_held_in_order
    what_no_task_is_done_with_is_listed_page_by_page
    known_orders_are_listed_page_by_page_and_awaited_ones_are_not
}

pub(super) const TTL_MS: i64 = 300_000;
const RETENTION_MS: i64 = 1_000_000;

pub(super) struct Shop {
    pub(super) store: Arc<dyn CacheStore>,
    clock: Clock,
}

impl Shop {
    pub(super) async fn open(backend: &dyn Backend) -> Self {
        Self::with(backend, 1_000_000).await
    }

    async fn with(backend: &dyn Backend, pending_max: u64) -> Self {
        migrate(&backend.cache(), &schemas::CACHE).await.unwrap();
        let clock = Clock::manual(Timestamp::from_unix_ms(START_MS));
        let policy = CachePolicy { ttl_ms: TTL_MS, pending_max, retention_ms: RETENTION_MS };
        Self { store: open_cache(&backend.cache(), clock.clone(), policy).await.unwrap(), clock }
    }

    async fn put_one(&self, by: &TaskKey, line: u64, of: i64) -> PutOutcome {
        self.store.put(by, &[early(line, of)]).await.unwrap().remove(0)
    }

    async fn record(&self, by: &TaskKey, of: i64) -> Vec<u64> {
        lines(&self.store.record_and_take(by, &[bought(of)]).await.unwrap().1)
    }

    async fn take(&self, by: &TaskKey, what: Take<'_>) -> Vec<u64> {
        lines(&self.store.take(by, what, 100).await.unwrap())
    }

    async fn pending(&self) -> u64 {
        self.store.backlog().await.unwrap().pending
    }
}

pub(super) fn order(number: i64) -> OrderId {
    OrderId::new(number).unwrap()
}

pub(super) fn early(line: u64, of: i64) -> EarlyReturn {
    let raw = format!("{{\"event_type\":3,\"payload\":{{\"order_id\":{of}}},\"x\":\"é\u{1f600}\\\\{line}\"}}");
    EarlyReturn { line, order: order(of), happened_at: Timestamp::from_unix_ms(START_MS + 1), raw }
}

pub(super) fn bought(number: i64) -> NewOrder {
    NewOrder { order: order(number), shop_id: -3, state: OrderState::Accepted }
}

pub(super) fn lines(taken: &[Taken]) -> Vec<u64> {
    taken.iter().map(|taken| taken.entry.line).collect()
}

fn is_known(outcome: &PutOutcome) -> bool {
    matches!(outcome, PutOutcome::Known(_))
}

async fn the_first_entry_of_an_order_stays(backend: &dyn Backend) {
    let shop = Shop::open(backend).await;
    let record = |by: TaskKey, entry: NewOrder| {
        let store = Arc::clone(&shop.store);
        async move { store.record_orders(&by, &[entry]).await.unwrap().remove(0) }
    };
    let rejected = NewOrder { state: OrderState::Rejected, ..bought(1) };
    for (by, entry, outcome) in [
        (key(1, 0), bought(1), RecordedAs::Recorded),
        (key(1, 0), bought(1), RecordedAs::Recorded),
        (key(2, 0), bought(1), RecordedAs::Same),
        (key(1, 1), bought(1), RecordedAs::Conflict),
        (key(1, 0), rejected, RecordedAs::Conflict),
        (key(1, 0), NewOrder { shop_id: 5, ..bought(1) }, RecordedAs::Conflict),
    ] {
        let recorded = record(by, entry).await;
        assert_eq!(recorded.outcome, outcome, "{entry:?}");
        let stands = (recorded.order.shop_id, recorded.order.shard, recorded.order.state, recorded.order.file);
        assert_eq!(stands, (-3, shard(0), OrderState::Accepted, file(1)));
    }
    // Twice in one call: the first one is written.
    let both = shop.store.record_orders(&key(3, 1), &[bought(2), NewOrder { shop_id: 9, ..bought(2) }]).await.unwrap();
    assert_eq!(both.iter().map(|r| r.outcome).collect::<Vec<_>>(), [RecordedAs::Recorded, RecordedAs::Conflict]);
    let known = shop.store.look_up(&[order(3), order(2), order(1), order(2)]).await.unwrap();
    assert_eq!(known.iter().map(|order| order.order.get()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(shop.store.look_up(&[]).await.unwrap(), []);
    assert_eq!(shop.store.record_orders(&key(1, 0), &[]).await.unwrap(), []);
}

async fn a_return_of_a_known_order_is_not_held_by_its_own_shard(backend: &dyn Backend) {
    let shop = Shop::open(backend).await;
    shop.record(&key(1, 0), 7).await;
    for _again in 0..2 {
        let PutOutcome::Known(order) = shop.put_one(&key(2, 0), 4, 7).await else { panic!("it was held") };
        assert_eq!((order.order.get(), order.shard, order.shop_id), (7, shard(0), -3));
    }
    assert_eq!(shop.store.backlog().await.unwrap(), Backlog::default());
    assert!(shop.take(&key(3, 0), Take::Shard).await.is_empty());
}

async fn a_return_waits_and_is_taken_with_its_order(backend: &dyn Backend) {
    let shop = Shop::open(backend).await;
    assert_eq!(shop.put_one(&key(1, 0), 4, 7).await, PutOutcome::Held);
    assert_eq!(shop.store.look_up(&[order(7)]).await.unwrap(), [], "an order that is awaited is not known");
    let backlog = shop.store.backlog().await.unwrap();
    let expected =
        Backlog { pending: 1, waiting: 1, overdue: 0, due: 0, oldest: Some(Timestamp::from_unix_ms(START_MS)) };
    assert_eq!(backlog, expected);
    assert!(shop.record(&key(2, 0), 8).await.is_empty(), "another order takes nothing");
    let (recorded, taken) = shop.store.record_and_take(&key(2, 0), &[bought(7)]).await.unwrap();
    assert_eq!(recorded[0].outcome, RecordedAs::Recorded);
    assert_eq!(taken, [Taken { file: file(1), entry: early(4, 7) }], "every byte of it");
    let held = shop.store.list_held(order(7), 10).await.unwrap();
    assert_eq!((held.len(), held[0].put_by(), held[0].line), (1, key(1, 0), 4));
    assert_eq!((&held[0].state, held[0].done_at), (&HeldState::Released(key(2, 0)), None));
    assert_eq!(held[0].expires_at, Timestamp::from_unix_ms(START_MS + TTL_MS));
}

async fn the_same_task_gets_the_same_and_no_other_task_does(backend: &dyn Backend) {
    let shop = Shop::open(backend).await;
    for (line, of) in [(4, 7), (5, 8), (6, 7)] {
        shop.put_one(&key(1, 0), line, of).await;
    }
    let orders = [bought(7), bought(8)];
    for _again in 0..3 {
        let (recorded, taken) = shop.store.record_and_take(&key(2, 0), &orders).await.unwrap();
        assert_eq!(lines(&taken), [4, 5, 6]);
        assert!(recorded.iter().all(|recorded| recorded.outcome == RecordedAs::Recorded));
        shop.store.confirm(&key(2, 0)).await.unwrap();
    }
    assert_eq!(shop.take(&key(2, 0), Take::Orders(&[order(7)])).await, [4, 6]);
    for other in [key(3, 0), key(2, 1)] {
        assert!(lines(&shop.store.record_and_take(&other, &orders).await.unwrap().1).is_empty());
        assert!(shop.take(&other, Take::Shard).await.is_empty());
        assert!(shop.take(&other, Take::Orders(&[order(7), order(8)])).await.is_empty());
    }
    assert!(shop.take(&key(2, 0), Take::Shard).await.is_empty(), "each kind is its own answer");
}

async fn a_task_that_comes_again_holds_what_it_held(backend: &dyn Backend) {
    let shop = Shop::open(backend).await;
    let (holder, taker) = (key(1, 0), key(2, 0));
    assert_eq!(shop.put_one(&holder, 4, 7).await, PutOutcome::Held);
    assert_eq!(shop.record(&taker, 7).await, [4]);
    // The order is known by now, and of its own shard. But the task has counted the line as held.
    assert_eq!(shop.put_one(&holder, 4, 7).await, PutOutcome::Held);
    shop.store.confirm(&taker).await.unwrap();
    assert_eq!(shop.put_one(&holder, 4, 7).await, PutOutcome::Held);
    assert!(is_known(&shop.put_one(&holder, 5, 7).await), "a line that was not held");
    assert!(shop.take(&key(3, 0), Take::Shard).await.is_empty(), "nothing is released twice");
    assert_eq!(shop.record(&taker, 7).await, [4]);
}

async fn a_return_of_another_shard_is_handed_to_it(backend: &dyn Backend) {
    let shop = Shop::open(backend).await;
    shop.record(&key(1, 1), 7).await;
    assert_eq!(shop.put_one(&key(2, 0), 4, 7).await, PutOutcome::Held);
    assert!(shop.take(&key(3, 0), Take::Shard).await.is_empty(), "it belongs to shard 1");
    shop.clock.advance_ms(TTL_MS + 1);
    assert!(shop.take(&key(4, 0), Take::Expired(None)).await.is_empty(), "its order is known: it does not expire");
    let backlog = shop.store.backlog().await.unwrap();
    assert_eq!((backlog.overdue, backlog.due), (0, 1), "it waits for a task of its shard");
    assert_eq!(shop.take(&key(3, 1), Take::Shard).await, [4]);
    assert_eq!(shop.store.backlog().await.unwrap().due, 0);
    assert!(shop.take(&key(4, 1), Take::Shard).await.is_empty());
}

async fn what_comes_later_is_for_the_next_task(backend: &dyn Backend) {
    let shop = Shop::open(backend).await;
    shop.record(&key(1, 1), 7).await;
    shop.put_one(&key(2, 0), 4, 7).await;
    assert_eq!(shop.take(&key(3, 1), Take::Shard).await, [4]);
    assert!(shop.take(&key(4, 1), Take::Shard).await.is_empty());
    shop.put_one(&key(2, 0), 5, 7).await;
    shop.put_one(&key(2, 0), 6, 7).await;
    // A task that is done again must write the same bytes again, also if it got nothing.
    assert_eq!(shop.take(&key(3, 1), Take::Shard).await, [4]);
    assert!(shop.take(&key(4, 1), Take::Shard).await.is_empty());
    assert!(shop.record(&key(1, 1), 7).await.is_empty());
    let one = shop.store.take(&key(5, 1), Take::Shard, 1).await.unwrap();
    assert_eq!(lines(&one), [5], "as many as were asked for");
    assert_eq!(shop.take(&key(5, 1), Take::Shard).await, [5]);
    assert_eq!(shop.take(&key(6, 1), Take::Shard).await, [6]);
}

async fn time_that_is_up_is_told_once(backend: &dyn Backend) {
    let shop = Shop::open(backend).await;
    shop.put_one(&key(1, 0), 4, 7).await;
    shop.put_one(&key(1, 1), 5, 8).await;
    shop.clock.advance_ms(TTL_MS - 1);
    assert!(shop.take(&key(2, 0), Take::Expired(None)).await.is_empty());
    assert_eq!(shop.store.backlog().await.unwrap().overdue, 0);
    shop.clock.advance_ms(1);
    let backlog = shop.store.backlog().await.unwrap();
    assert_eq!((backlog.overdue, backlog.due), (2, 2));
    assert!(shop.take(&key(2, 0), Take::Expired(None)).await.is_empty(), "this task has its answer");
    for _again in 0..2 {
        assert_eq!(shop.take(&key(3, 0), Take::Expired(None)).await, [4], "of its own shard");
    }
    assert!(shop.take(&key(4, 0), Take::Expired(None)).await.is_empty());
    // The order comes too late: the return has expired and is not released.
    assert!(shop.record(&key(5, 0), 7).await.is_empty());
    assert!(shop.take(&key(6, 0), Take::Shard).await.is_empty());
    assert_eq!(shop.store.list_held(order(7), 10).await.unwrap()[0].state, HeldState::Expired(key(3, 0)));
    assert_eq!(shop.put_one(&key(1, 0), 4, 7).await, PutOutcome::Held);
    assert_eq!(shop.take(&key(3, 1), Take::Expired(None)).await, [5]);
}

async fn no_time_is_up_that_is_not_up_before_a_file_that_is_undecided(backend: &dyn Backend) {
    let shop = Shop::open(backend).await;
    shop.put_one(&key(1, 0), 4, 7).await;
    shop.clock.advance_ms(TTL_MS * 10);
    let later = |ms: i64| FileName::of(Timestamp::from_unix_ms(START_MS + 1000 + ms));
    assert!(shop.take(&key(2, 0), Take::Expired(Some(&file(1)))).await.is_empty(), "its own file, in another shard");
    assert!(shop.take(&key(3, 0), Take::Expired(Some(&later(TTL_MS)))).await.is_empty(), "within its time");
    assert_eq!(shop.take(&key(4, 0), Take::Expired(Some(&later(TTL_MS + 1000)))).await, [4]);
    assert_eq!(shop.take(&key(4, 0), Take::Expired(Some(&file(1)))).await, [4], "the same task is told the same");
}

async fn an_order_in_time_is_no_orphan(backend: &dyn Backend) {
    let shop = Shop::open(backend).await;
    shop.put_one(&key(1, 0), 4, 7).await;
    shop.store.record_orders(&key(2, 0), &[bought(7)]).await.unwrap();
    shop.clock.advance_ms(TTL_MS * 2);
    assert!(shop.take(&key(3, 0), Take::Expired(None)).await.is_empty());
    assert_eq!(shop.take(&key(3, 0), Take::Orders(&[order(7)])).await, [4]);
}

async fn a_task_that_is_done_frees_its_place_and_is_forgotten_later(backend: &dyn Backend) {
    let shop = Shop::open(backend).await;
    let taker = key(2, 0);
    for line in 1..=5 {
        shop.put_one(&key(1, 0), line, 7).await;
    }
    assert_eq!(shop.record(&taker, 7).await, [1, 2, 3, 4, 5]);
    assert!(shop.take(&taker, Take::Shard).await.is_empty());
    assert_eq!(shop.pending().await, 5, "what is taken is pending until its task is done");
    assert_eq!((shop.store.confirm(&key(3, 0)).await.unwrap(), shop.pending().await), (0, 5));
    assert_eq!((shop.store.confirm(&taker).await.unwrap(), shop.pending().await), (5, 0));
    assert_eq!(shop.store.confirm(&taker).await.unwrap(), 0);
    shop.clock.advance_ms(RETENTION_MS);
    assert_eq!(shop.store.forget(100).await.unwrap(), Forgotten::default());
    assert_eq!(shop.record(&taker, 7).await, [1, 2, 3, 4, 5]);
    shop.clock.advance_ms(1);
    for (returns, claims) in [(3, 1), (2, 0)] {
        assert_eq!(shop.store.forget(3).await.unwrap(), Forgotten { returns, claims });
    }
    assert_eq!(shop.store.list_held(order(7), 10).await.unwrap(), []);
    assert_eq!(shop.store.look_up(&[order(7)]).await.unwrap().len(), 1, "the directory forgets nothing");
    let left = backend.texts(&backend.cache(), "SELECT concat('', filename) FROM pending_claim").await;
    assert!(left.is_empty(), "{left:?}");
}

/// Tasks leave notes whether they got a return or not.
async fn notes_of_tasks_are_forgotten_batch_by_batch(backend: &dyn Backend) {
    let shop = Shop::open(backend).await;
    for number in 1..=4 {
        let task = key(number, 0);
        assert!(shop.take(&task, Take::Shard).await.is_empty());
        assert!(shop.take(&task, Take::Expired(None)).await.is_empty());
        // The last one is not done.
        if number < 4 {
            shop.store.confirm(&task).await.unwrap();
        }
    }
    shop.clock.advance_ms(RETENTION_MS + 1);
    for (claims, is_full) in [(4, true), (2, false), (0, false)] {
        let forgotten = shop.store.forget(4).await.unwrap();
        assert_eq!((forgotten, forgotten.is_full(4)), (Forgotten { returns: 0, claims }, is_full));
    }
    let left = backend.texts(&backend.cache(), "SELECT concat('', filename) FROM pending_claim").await;
    assert_eq!(left, [file(4).as_str(), file(4).as_str()]);
}

async fn the_cap_holds_returns_back_and_loses_none(backend: &dyn Backend) {
    let shop = Shop::with(backend, 3).await;
    let holder = key(1, 0);
    let three: Vec<EarlyReturn> = (1..=3).map(|line| early(line, 7)).collect();
    let four: Vec<EarlyReturn> = (1..=4).map(|line| early(line, 7)).collect();
    assert_eq!(code(shop.store.put(&holder, &four).await), "pending_full");
    assert_eq!(shop.pending().await, 0, "all or nothing");
    assert_eq!(shop.store.put(&holder, &three).await.unwrap(), vec![PutOutcome::Held; 3]);
    let full = shop.store.put(&holder, &four).await.unwrap_err();
    assert!(full.is_temporary(), "{full}");
    assert_eq!(shop.store.put(&holder, &three).await.unwrap(), vec![PutOutcome::Held; 3], "nothing is added");
    shop.record(&key(2, 0), 7).await;
    assert_eq!(code(shop.store.put(&holder, &[early(9, 8)]).await), "pending_full", "taken, but not done");
    assert!(is_known(&shop.put_one(&holder, 10, 7).await), "what is not held needs no place");
    shop.store.confirm(&key(2, 0)).await.unwrap();
    assert_eq!(shop.put_one(&holder, 9, 8).await, PutOutcome::Held);
}

async fn another_content_of_a_line_is_refused(backend: &dyn Backend) {
    let shop = Shop::open(backend).await;
    shop.put_one(&key(1, 0), 4, 7).await;
    let other_raw = EarlyReturn { raw: "{}".to_owned(), ..early(4, 7) };
    let other_time = EarlyReturn { happened_at: Timestamp::from_unix_ms(START_MS), ..early(4, 7) };
    for (by, other) in
        [(key(1, 0), other_raw), (key(1, 0), other_time), (key(1, 0), early(4, 8)), (key(1, 1), early(4, 7))]
    {
        assert_eq!(code(shop.store.put(&by, &[early(5, 7), other]).await), "line_conflict");
    }
    assert_eq!(shop.pending().await, 1);
    let twice = shop.store.put(&key(2, 0), &[early(1, 7), early(1, 7)]).await.unwrap();
    assert_eq!((twice, shop.pending().await), (vec![PutOutcome::Held; 2], 2));
    assert_eq!(code(shop.store.put(&key(3, 0), &[early(1, 7), early(1, 9)]).await), "line_conflict");
}

async fn a_whole_call_is_held_in_order(backend: &dyn Backend) {
    let shop = Shop::open(backend).await;
    let known: Vec<NewOrder> = (1..=3000).filter(|number| number % 3 == 0).map(bought).collect();
    shop.store.record_orders(&key(1, 0), &known).await.unwrap();
    let returns: Vec<EarlyReturn> = (1..=3000_u32).rev().map(|number| early(number.into(), number.into())).collect();
    let outcomes = shop.store.put(&key(2, 0), &returns).await.unwrap();
    for (entry, outcome) in returns.iter().zip(&outcomes) {
        assert_eq!(is_known(outcome), entry.line % 3 == 0, "{}", entry.line);
    }
    let all: Vec<NewOrder> = (1..=3000).map(bought).collect();
    let (recorded, taken) = shop.store.record_and_take(&key(3, 0), &all).await.unwrap();
    let same = recorded.iter().filter(|recorded| recorded.outcome == RecordedAs::Same).count();
    assert_eq!((same, taken.len()), (1000, 2000));
    assert_eq!(lines(&taken), (1..=3000).filter(|line| line % 3 != 0).collect::<Vec<u64>>());
    assert_eq!(shop.store.confirm(&key(3, 0)).await.unwrap(), 2000);
}

async fn what_no_task_is_done_with_is_listed_page_by_page(backend: &dyn Backend) {
    let shop = Shop::open(backend).await;
    for (by, line, of) in [(key(2, 0), 10, 7), (key(1, 1), 9, 8), (key(1, 1), 10, 7), (key(3, 0), 1, 9)] {
        shop.put_one(&by, line, of).await;
    }
    assert_eq!(shop.record(&key(4, 0), 7).await, [10, 10]);
    assert_eq!(shop.record(&key(5, 0), 9).await, [1]);
    shop.store.confirm(&key(5, 0)).await.unwrap();
    let expected = [(key(1, 1), 9, None), (key(1, 1), 10, Some(key(4, 0))), (key(2, 0), 10, Some(key(4, 0)))];
    for limit in [1, 2, 10] {
        let (mut all, mut after) = (Vec::new(), None);
        while let page = shop.store.list_pending(after.take(), limit).await.unwrap()
            && let Some(last) = page.last()
        {
            after = Some((last.file.clone(), last.line));
            all.extend(page.iter().map(|held| (held.put_by(), held.line, held.taken_by().cloned())));
        }
        assert_eq!(all, expected, "{limit}");
    }
}

async fn known_orders_are_listed_page_by_page_and_awaited_ones_are_not(backend: &dyn Backend) {
    let shop = Shop::open(backend).await;
    shop.put_one(&key(1, 0), 1, 4).await;
    for (by, of) in [(key(1, 0), 7), (key(1, 1), 2), (key(2, 0), 9)] {
        shop.record(&by, of).await;
    }
    let rejected = NewOrder { state: OrderState::Rejected, ..bought(5) };
    shop.store.record_orders(&key(2, 1), &[rejected]).await.unwrap();
    let (mut seen, mut after) = (Vec::new(), None);
    while let page = shop.store.list_orders(after, 2).await.unwrap()
        && let Some(last) = page.last()
    {
        assert!(page.len() <= 2);
        after = Some(last.order);
        seen.extend(page.into_iter().map(|order| (order.order.get(), order.shard, order.state, order.file)));
    }
    let accepted = OrderState::Accepted;
    let expected = [
        (2, shard(1), accepted, file(1)),
        (5, shard(1), OrderState::Rejected, file(2)),
        (7, shard(0), accepted, file(1)),
        (9, shard(0), accepted, file(2)),
    ];
    assert_eq!(seen, expected);
    // Its purchase came: what waits for it is a decided one, and no other.
    assert_eq!(shop.store.backlog().await.unwrap().decided(), 0);
    shop.store.record_orders(&key(2, 0), &[bought(4)]).await.unwrap();
    assert_eq!(shop.store.backlog().await.unwrap().decided(), 1);
    shop.clock.advance_ms(TTL_MS + 1);
    shop.put_one(&key(3, 0), 1, 44).await;
    shop.clock.advance_ms(TTL_MS + 1);
    let backlog = shop.store.backlog().await.unwrap();
    assert_eq!((backlog.due, backlog.overdue, backlog.decided()), (2, 1, 1), "an overdue one has no purchase");
}
