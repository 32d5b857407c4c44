//! What the tests of this folder share: databases on the servers that the environment names.

use std::sync::atomic::{AtomicU32, Ordering};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::session;
use crate::base::db::{Schema, Server, StoreUrl, migrate};

/// Runs each case on both servers.
macro_rules! on_every_server {
    ($($case:ident)+) => {
        mod on_mariadb {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case("SHOPCTL_TEST_MARIADB").await;
                }
            )+
        }
        mod on_mysql {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case("SHOPCTL_TEST_MYSQL").await;
                }
            )+
        }
    };
}
pub(crate) use on_every_server;

/// A database of one test.
pub(crate) struct TestDatabase {
    pub(crate) server: Server,
}

impl TestDatabase {
    /// A database that is not made yet.
    #[expect(clippy::disallowed_methods, reason = "the script that started the servers passes their addresses")]
    pub(crate) fn at(variable: &str, name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let url = std::env::var(variable).unwrap_or_else(|_| {
            panic!("this test needs a server: 'tests/run' starts one, 'tests/run --embedded' leaves it out")
        });
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        match StoreUrl::parse(&format!("{url}/shopctl_test_{}_{number}_{name}", std::process::id())).unwrap() {
            StoreUrl::Mysql(server) => Self { server },
            StoreUrl::Sqlite(path) => panic!("{} is no server", path.display()),
        }
    }

    /// An empty database with this schema.
    pub(crate) async fn made(variable: &str, name: &str, schema: &'static Schema) -> Self {
        let place = Self::at(variable, name);
        migrate(&StoreUrl::Mysql(place.server.clone()), schema).await.unwrap();
        place
    }

    /// A connection of its own, to no database.
    pub(crate) async fn connect(&self) -> Conn {
        Conn::new(session::options(&self.server, 1, None)).await.unwrap()
    }

    pub(crate) async fn drop(self) {
        let mut connection = self.connect().await;
        connection.query_drop(format!("DROP DATABASE {}", self.server.database)).await.unwrap();
    }
}
