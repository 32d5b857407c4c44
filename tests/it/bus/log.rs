//! The embedded bus, and what is true for it alone.

use std::sync::Arc;

use shopctl::base::bus::{Bus, Error, Start, log};
use shopctl::base::clock::Clock;
use shopctl::base::timestamp::Timestamp;
use tempfile::TempDir;

use super::{AT_ONCE, Ground, ack, join, publish, read_exactly, round_robin, topic};

/// A log in a folder of its own.
pub(crate) struct Log {
    folder: TempDir,
    clock: Clock,
}

impl Log {
    pub(crate) async fn new() -> Self {
        let clock = Clock::manual(Timestamp::from_unix_ms(1_735_689_600_000));
        Self { folder: tempfile::tempdir().unwrap(), clock }
    }
}

#[async_trait::async_trait]
impl Ground for Log {
    async fn open(&self) -> Arc<dyn Bus> {
        let path = self.folder.path().join("bus_db.sqlite");
        Arc::new(log::Log::open(&path, self.clock.clone()).await.unwrap())
    }

    async fn restart(&self) {
        // There is no server: who opens the file is the bus.
    }

    async fn pass(&self) {
        self.clock.advance_ms(3_000);
    }

    async fn lapse(&self) {
        self.clock.advance_ms(10_001);
    }
}

#[tokio::test]
async fn what_no_group_needs_any_more_is_deleted() {
    let ground = Log::new().await;
    let bus = ground.open().await;
    let topic = topic(1).keeping(10);
    let mut member = join(&*bus, &topic, "slow").await;
    publish(&*bus, &topic, &round_robin(1, 30)).await;
    // All are kept as long as the group has not acknowledged them.
    let messages = read_exactly(&mut *member, 30).await;
    ack(&mut *member, &messages[..25]).await.unwrap();
    publish(&*bus, &topic, &round_robin(1, 1)).await;
    let mut reader = bus.read(&topic, Start::First).await.unwrap();
    assert_eq!(reader.next(100, AT_ONCE).await.unwrap().len(), 10, "31 were published, 10 are kept");
    let gone = bus.read(&topic, Start::After(messages[0].position.into())).await.err();
    let Some(Error::OutOfRange { oldest }) = gone else { panic!("{gone:?}") };
    let mut again = bus.read(&topic, Start::After(oldest)).await.unwrap();
    assert_eq!(again.next(100, AT_ONCE).await.unwrap().len(), 10);
}

#[tokio::test]
async fn a_reader_that_is_overtaken_by_the_deletion_is_told() {
    let ground = Log::new().await;
    let bus = ground.open().await;
    let topic = topic(1).keeping(5);
    publish(&*bus, &topic, &round_robin(1, 3)).await;
    let mut reader = bus.read(&topic, Start::First).await.unwrap();
    assert_eq!(reader.next(1, AT_ONCE).await.unwrap().len(), 1);
    publish(&*bus, &topic, &round_robin(1, 20)).await;
    let told = reader.next(100, AT_ONCE).await;
    assert!(matches!(told, Err(Error::OutOfRange { .. })), "{told:?}");
}
