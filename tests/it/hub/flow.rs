//! From a draft to subscribers and minutes, on the embedded store and log.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use shopctl::base::bus::{self, Bus, Group, Start, Topic};
use shopctl::base::clock::Clock;
use shopctl::base::shutdown::Stop;
use shopctl::hub::minutes::{GROUP, Minutes};
use shopctl::hub::model::{Draft, Reason, Rules};
use shopctl::hub::relay::Relay;
use shopctl::hub::service::{Limits, Service, Verdict};
use shopctl::hub::store::{HubStore, sqlite::SqliteHub};
use shopctl::hub::subscribe::{Broadcast, Filter, Subscription};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{PATIENCE, START_MS, at, user};

/// A hub in one process.
struct Hub {
    folder: TempDir,
    clock: Clock,
    service: Service,
    broadcast: Broadcast,
    bus: Arc<dyn Bus>,
    stop: Stop,
    running: Vec<JoinHandle<()>>,
}

fn topic() -> Topic {
    Topic::new("events", 1).unwrap()
}

async fn open_store(folder: &Path, clock: &Clock) -> Arc<dyn HubStore> {
    Arc::new(SqliteHub::open(&folder.join("hub_db.sqlite"), clock.clone()).await.unwrap())
}

impl Hub {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(at(0));
        let store = open_store(folder.path(), &clock).await;
        let limits = Limits { rules: Rules::default(), keys_kept: std::time::Duration::from_secs(86_400) };
        let service = Service::start(Arc::clone(&store), limits, clock.clone());
        let path = folder.path().join("bus_db.sqlite");
        let bus: Arc<dyn Bus> = Arc::new(bus::log::Log::open(&path, clock.clone()).await.unwrap());
        let broadcast = Broadcast::start(Arc::clone(&bus), topic());
        let mut hub = Self { folder, clock, service, broadcast, bus, stop: Stop::new(), running: Vec::new() };
        hub.start_relay().await;
        hub
    }

    async fn start_relay(&mut self) {
        let store = open_store(self.folder.path(), &self.clock).await;
        let relay = Relay::new(store, Arc::clone(&self.bus), topic(), self.clock.clone());
        self.running.push(tokio::spawn(relay.run(self.stop.clone())));
    }

    async fn start_minutes(&mut self) {
        let store = open_store(self.folder.path(), &self.clock).await;
        let group = Group::new(GROUP).unwrap();
        let minutes = Minutes::new(store, Arc::clone(&self.bus), topic(), group, |_| {});
        self.running.push(tokio::spawn(minutes.run(self.stop.clone())));
    }

    async fn post(&self, json: &str) -> Verdict {
        let draft = Draft::from_json(json).unwrap().unwrap();
        self.service.accept(draft, "hub_writer").await.unwrap()
    }

    async fn subscribe(&self, start: Start) -> Subscription {
        self.broadcast.subscribe(start, Filter::default()).await.unwrap()
    }

    async fn stop(self) {
        self.stop.request();
        for running in self.running {
            tokio::time::timeout(PATIENCE, running).await.expect("it does not stop").unwrap();
        }
    }
}

fn purchase(user: &str, amount: u32) -> String {
    format!(r#"{{"user_id":"{user}","event_type":"purchase","amount":{amount},"timestamp":"2024-01-15T10:30:00Z"}}"#)
}

/// The amounts of the next events.
async fn amounts(subscription: &mut Subscription, count: usize) -> Vec<u32> {
    let mut amounts = Vec::new();
    for _ in 0..count {
        let next = tokio::time::timeout(PATIENCE, subscription.next()).await.expect("no event came");
        amounts.push(next.unwrap().delivery.event.amount.to_string().parse().unwrap());
    }
    amounts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_comes_from_the_door_to_all_that_subscribe() {
    let hub = Hub::start().await;
    let mut live = hub.subscribe(Start::End).await;
    assert!(matches!(hub.post(&purchase("a", 1)).await, Verdict::Accepted(_)));
    assert_eq!(amounts(&mut live, 1).await, [1]);
    for amount in 2..=30 {
        hub.post(&purchase("a", amount)).await;
    }
    // From the oldest; and one that comes back with its position misses nothing.
    let mut first = hub.subscribe(Start::First).await;
    assert_eq!(amounts(&mut first, 10).await, (1..=10).collect::<Vec<_>>());
    let cursor = first.cursor().to_string().parse().unwrap();
    drop(first);
    let mut resumed = hub.subscribe(Start::After(cursor)).await;
    assert_eq!(amounts(&mut resumed, 20).await, (11..=30).collect::<Vec<_>>());
    assert_eq!(amounts(&mut live, 29).await, (2..=30).collect::<Vec<_>>());
    let wanted = Filter { user_id: Some(user("b")), ..Filter::default() };
    let mut filtered = hub.broadcast.subscribe(Start::End, wanted).await.unwrap();
    hub.post(&purchase("a", 31)).await;
    hub.post(&purchase("b", 32)).await;
    assert_eq!(amounts(&mut filtered, 1).await, [32]);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_that_come_while_events_pass_see_each_once_in_order() {
    let hub = Hub::start().await;
    let service = hub.service.clone();
    let posts = tokio::spawn(async move {
        for amount in 0..600 {
            let draft = Draft::from_json(&purchase("a", amount)).unwrap().unwrap();
            service.accept(draft, "hub_writer").await.unwrap();
        }
    });
    let mut readers = Vec::new();
    for _ in 0..12 {
        let mut subscription = hub.subscribe(Start::First).await;
        readers.push(tokio::spawn(async move { amounts(&mut subscription, 600).await }));
        tokio::task::yield_now().await;
    }
    posts.await.unwrap();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), (0..600).collect::<Vec<_>>());
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_has_a_verdict_for_each_event() {
    let hub = Hub::start().await;
    let key = |amount: u32| {
        let event = purchase("a", amount);
        Draft::from_json(&event.replace('}', r#","idempotency_key":"k"}"#)).unwrap()
    };
    let drafts =
        vec![key(1), Draft::from_json("[]").unwrap(), key(1), key(2), Draft::from_json(&purchase("", 1)).unwrap()];
    let verdicts = hub.service.accept_all(drafts, "hub_writer").await.unwrap();
    let Verdict::Accepted(id) = verdicts[0] else { panic!("{verdicts:?}") };
    let reason = |verdict: &Verdict| match verdict {
        Verdict::Rejected(rejection) => Some(rejection.reason),
        _ => None,
    };
    assert_eq!(reason(&verdicts[1]), Some(Reason::EventInvalid));
    assert_eq!(verdicts[2], Verdict::Duplicate(id));
    assert_eq!(reason(&verdicts[3]), Some(Reason::IdempotencyKeyReused));
    assert_eq!(reason(&verdicts[4]), Some(Reason::UserIdInvalid));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posts_at_once_share_a_transaction_and_all_are_answered() {
    let hub = Hub::start().await;
    let posts: Vec<_> = (0..200)
        .map(|amount| {
            let service = hub.service.clone();
            let draft = Draft::from_json(&purchase(&format!("user{}", amount % 7), amount)).unwrap().unwrap();
            tokio::spawn(async move { service.accept(draft, "hub_writer").await.unwrap() })
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    for post in posts {
        let Verdict::Accepted(id) = post.await.unwrap() else { panic!("refused") };
        ids.insert(id);
    }
    assert_eq!(ids.len(), 200);
    let mut all = hub.subscribe(Start::First).await;
    let mut seen = amounts(&mut all, 200).await;
    seen.sort_unstable();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn minutes_add_up_to_what_was_posted() {
    let mut hub = Hub::start().await;
    hub.start_minutes().await;
    hub.start_minutes().await;
    let mut expected: BTreeMap<i64, u64> = BTreeMap::new();
    for number in 0..100_i64 {
        let at = START_MS - number * 1_700;
        *expected.entry(at / 60_000 * 60_000).or_default() += 1;
        let timestamp = shopctl::base::timestamp::Timestamp::from_unix_ms(at).rfc3339_ms();
        hub.post(&purchase("a", 3).replace("2024-01-15T10:30:00Z", &timestamp)).await;
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut ear = hub.service.store().ear();
    loop {
        ear.reset();
        let minutes = hub.service.store().list_minutes(at(-300_000), at(60_000), None).await.unwrap();
        let found: BTreeMap<_, _> =
            minutes.iter().map(|kept| (kept.minute.begin.unix_ms(), kept.minute.count)).collect();
        if found.values().sum::<u64>() >= 100 {
            assert_eq!(found, expected);
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{found:?}");
        tokio::task::yield_now().await;
    }
    hub.stop().await;
}
