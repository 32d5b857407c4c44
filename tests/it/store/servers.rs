//! What only a server has: rights, encryption, plans, a person who ends our connections.

use std::time::Duration;

use shopctl::base::config::{Sources, load};
use shopctl::base::db::{Server, Tls};
use shopctl::pipeline::send::Shards;
use shopctl::pipeline::settings::Settings;
use shopctl::pipeline::shard_db::{Delivered, Delivery, Entry, EventRow};

use super::served::Served;
use super::*;
use crate::support::database::Databases;

/// Runs each case on both servers.
macro_rules! on_every_server {
    ($($case:ident)+) => {
        mod on_mariadb {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(&super::Served::mariadb()).await;
                }
            )+
        }
        mod on_mysql {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(&super::Served::mysql()).await;
                }
            )+
        }
    };
}
pub(super) use on_every_server;

on_every_server! {
    a_user_without_rights_on_tables_works_on_a_schema_that_is_up_to_date
    a_user_who_may_not_migrate_is_told_what_to_do
    a_sender_needs_no_more_than_to_select_insert_and_update
    a_connection_that_the_server_ends_is_replaced
    a_table_of_another_engine_is_refused
    a_required_encryption_never_falls_back_to_none
    no_server_at_the_address_is_unavailable
    all_senders_of_a_process_share_eight_connections_and_none_is_left
}

fn server(url: &StoreUrl) -> Server {
    match url {
        StoreUrl::Mysql(server) => server.clone(),
        StoreUrl::Sqlite(path) => panic!("{} is no server", path.display()),
    }
}

/// A user of their own with these rights on one database; the password needs every kind of quoting.
async fn user(backend: &Served, url: &StoreUrl, rights: &str) -> StoreUrl {
    let Server { database, .. } = server(url);
    // Databases are called shopctl_test_<process>_<number>_<what>, and user names are short.
    let (name, password) = (database.replace("shopctl_test_", "u"), "p@ss/w:ord%'x");
    backend.change_server(&format!("DROP USER IF EXISTS '{name}'@'%'")).await;
    backend.change_server(&format!("CREATE USER '{name}'@'%' IDENTIFIED BY '{}'", password.replace('\'', "''"))).await;
    backend.change_server(&format!("GRANT {rights} ON {database}.* TO '{name}'@'%'")).await;
    StoreUrl::Mysql(Server { user: name, password: Some(password.to_owned()), ..server(url) })
}

async fn open(url: &StoreUrl) -> Arc<dyn Tracking> {
    open_tracking(url, Clock::System, policy()).await.unwrap()
}

async fn drop_user(backend: &Served, url: &StoreUrl) {
    backend.change_server(&format!("DROP USER '{}'@'%'", server(url).user)).await;
}

async fn a_user_without_rights_on_tables_works_on_a_schema_that_is_up_to_date(backend: &Served) {
    migrate(&backend.tracking(), &schemas::TRACKING).await.unwrap();
    let url = user(backend, &backend.tracking(), "SELECT, INSERT, UPDATE, DELETE").await;
    let tracking = open(&url).await;
    tracking.register(&file(1), &all(2)).await.unwrap();
    tracking.ingest_done(&file(1), None).await.unwrap();
    let claim = Claim {
        stage: SPLIT,
        worker: "w".to_owned(),
        limit: 9,
        shard: None,
        claim_id: "c".to_owned(),
        takes_over: true,
    };
    let claimed = tracking.claim(&claim).await.unwrap();
    let moved =
        tracking.apply(&claimed[0].key, SPLIT, Call::Done(Some(claimed[0].token)), StageReport::default()).await;
    assert_eq!((claimed.len(), moved.unwrap()), (2, Status::Done));
    tracking.close().await;
    drop_user(backend, &url).await;
}

async fn a_user_who_may_not_migrate_is_told_what_to_do(backend: &Served) {
    let Server { database, .. } = server(&backend.tracking());
    backend.change_server(&format!("CREATE DATABASE {database}")).await;
    let url = user(backend, &backend.tracking(), "SELECT, INSERT, UPDATE, DELETE").await;
    let tracking = open(&url).await;
    let error = tracking.ping().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("shopctl migrate up") && !error.to_string().contains("p@ss"), "{error}");
    // A person with the right does it, and the same store goes on by itself.
    migrate(&backend.tracking(), &schemas::TRACKING).await.unwrap();
    tracking.ping().await.unwrap();
    tracking.close().await;
    drop_user(backend, &url).await;
}

async fn a_sender_needs_no_more_than_to_select_insert_and_update(backend: &Served) {
    let place = backend.shard(shard(0));
    migrate(&place, &schemas::SHARD).await.unwrap();
    let url = user(backend, &place, "SELECT, INSERT, UPDATE").await;
    let store = open_shard(&url, Clock::System).await.unwrap();
    store.ping().await.unwrap();
    // Row by row, marker and books; the second file changes what the first one entered.
    for number in [1, 2] {
        let entry = Entry::Stock { shop_id: 3, good_id: 5, delta: 7 };
        assert_eq!(store.deliver(delivery(number, entry)).await.unwrap(), Delivered::Now);
        assert_eq!(store.deliver(delivery(number, entry)).await.unwrap(), Delivered::Before);
    }
    assert_eq!(store.census(shard(0)).await.unwrap().rows, 2);
    store.close().await;
    let count = "SELECT CAST(count AS CHAR) FROM shop WHERE id = 3 AND good_id = 5";
    assert_eq!(backend.texts(&place, count).await, ["14"]);
    drop_user(backend, &url).await;
}

fn delivery(number: u32, entry: Entry) -> Delivery {
    let row = EventRow {
        event_type: 0,
        shop_id: Some(3),
        user_id: None,
        timestamp: Timestamp::from_unix_ms(START_MS),
        source_file: file(number),
        source_line: 1,
        entry: Some(entry),
    };
    let source = Box::new(std::iter::once(Ok(row)));
    Delivery { key: key(number, 0), sha256: Digest::new([1; 32]), rows: 1, source }
}

async fn a_connection_that_the_server_ends_is_replaced(backend: &Served) {
    let world = World::open(backend).await;
    world.ready(1, 2).await;
    let own = server(&backend.tracking()).database;
    let select = format!("SELECT CAST(id AS CHAR) FROM information_schema.processlist WHERE db = '{own}'");
    for _ in 0..3 {
        let connections = backend.texts(&backend.tracking(), &format!("{select} AND id <> CONNECTION_ID()")).await;
        assert!(!connections.is_empty(), "there is nothing to end");
        for id in connections {
            backend.change_server(&format!("KILL {id}")).await;
        }
        assert_eq!(world.tracking.summary().await.unwrap().total, 2);
    }
}

async fn a_table_of_another_engine_is_refused(backend: &Served) {
    migrate(&backend.tracking(), &schemas::TRACKING).await.unwrap();
    backend.change(&backend.tracking(), "ALTER TABLE pipeline_stage_result ENGINE = MyISAM").await;
    let error = open(&backend.tracking()).await.ping().await.unwrap_err().to_string();
    assert!(error.contains("pipeline_stage_result") && error.contains("InnoDB"), "{error}");
}

async fn a_required_encryption_never_falls_back_to_none(backend: &Served) {
    migrate(&backend.tracking(), &schemas::TRACKING).await.unwrap();
    let with = |tls: Tls| StoreUrl::Mysql(Server { tls, ..server(&backend.tracking()) });
    let encrypts =
        backend.texts(&backend.tracking(), "SELECT IF(@@ssl_cert IS NULL OR @@ssl_cert = '', 'no', 'yes')").await;
    let required = open(&with(Tls::Required)).await.ping().await;
    assert_eq!(required.is_ok(), encrypts == ["yes"], "{required:?}");
    // Its certificate is its own: no authority that we know signed it.
    let verified = open(&with(Tls::VerifyIdentity(None))).await.ping().await;
    assert!(matches!(verified, Err(Error::Unavailable(_))), "{verified:?}");
}

async fn no_server_at_the_address_is_unavailable(backend: &Served) {
    let url = StoreUrl::Mysql(Server { port: 1, ..server(&backend.tracking()) });
    let tracking = open(&url).await;
    let error = tracking.ping().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)) && error.to_string().contains(":1/"), "{error}");
    let shard = open_shard(&url, Clock::System).await.unwrap();
    assert!(matches!(shard.ping().await, Err(Error::Unavailable(_))));
}

async fn all_senders_of_a_process_share_eight_connections_and_none_is_left(backend: &Served) {
    let place = backend.shard(shard(0));
    migrate(&place, &schemas::SHARD).await.unwrap();
    let Databases::Server { url, .. } = backend.databases() else { panic!("{place} is no server") };
    let flags = vec![("database.shard".to_owned(), format!("{url}shard_{{shard}}"))];
    let settings = load::<Settings>(&Sources { flags, ..Sources::default() }).unwrap().settings;
    let shards = Arc::new(Shards::new(settings.database, Clock::System));
    let asked = (0..50).map(|_| {
        let shards = Arc::clone(&shards);
        tokio::spawn(async move {
            let store = shards.get(shard(0)).await.unwrap();
            store.ping().await.unwrap();
            store
        })
    });
    let mut held = Vec::new();
    for asked in asked.collect::<Vec<_>>() {
        held.push(asked.await.unwrap());
    }
    let count = "SELECT CAST(COUNT(*) AS CHAR) FROM information_schema.processlist
         WHERE db = DATABASE() AND id <> CONNECTION_ID()";
    let connections: u32 = backend.texts(&place, count).await[0].parse().unwrap();
    assert!((1..=8).contains(&connections), "{connections} connections");
    shards.close().await;
    // The server takes its time to end them.
    let ended = async {
        while backend.texts(&place, count).await != ["0"] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
    drop(held);
}
