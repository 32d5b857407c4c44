//! MySQL and MariaDB: each test has databases of its own on the server that the environment names.

use std::sync::atomic::{AtomicU32, Ordering};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use shopctl::base::db::Server;

use super::*;
use crate::support::database::Databases;

/// Databases on a server that go away with the test.
pub(crate) struct Served {
    /// Where the server is, without a database.
    url: String,
    server: Server,
    prefix: String,
}

impl Served {
    pub(crate) fn mariadb() -> Self {
        Self::at("SHOPCTL_TEST_MARIADB", "MariaDB 10.6 or newer (on Debian: apt-get install mariadb-server)")
    }

    pub(crate) fn mysql() -> Self {
        Self::at("SHOPCTL_TEST_MYSQL", "MySQL 8.0 or newer")
    }

    #[expect(clippy::disallowed_methods, reason = "where the servers are, only what started them knows")]
    fn at(variable: &str, what: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let url = std::env::var(variable).unwrap_or_else(|_| {
            panic!(
                "this test needs a server: {what}. 'tests/run' starts one and sets {variable}=mysql://USER@HOST:PORT; \
                 'tests/run --embedded' runs what needs none"
            )
        });
        let url = url.trim_end_matches('/').to_owned();
        let StoreUrl::Mysql(server) = StoreUrl::parse(&format!("{url}/shopctl_test")).unwrap() else {
            panic!("{variable} names no server")
        };
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        Self { url, server, prefix: format!("shopctl_test_{}_{number}", std::process::id()) }
    }

    fn named(&self, name: &str) -> StoreUrl {
        StoreUrl::Mysql(Server { database: format!("{}_{name}", self.prefix), ..self.server.clone() })
    }
}

impl Served {
    /// A whole pipeline's databases.
    pub(crate) fn databases(&self) -> Databases {
        let url = format!("{}/{}_", self.url, self.prefix);
        let names = [
            ("tracking", "pipeline_db"),
            ("shard", "shop_shard_{shard}"),
            ("balance", "balance_db"),
            ("cache", "cache_db"),
        ];
        let settings = names.map(|(key, name)| format!("database.{key}={url}{name}"));
        Databases::Server { url, settings: settings.to_vec() }
    }

    /// What an administrator does, in no database.
    pub(super) async fn change_server(&self, statement: &str) {
        connect(&self.server, None).await.query_drop(statement).await.unwrap();
    }
}

/// A connection with none of the program's own settings.
async fn connect(server: &Server, database: Option<&str>) -> Conn {
    let options = OptsBuilder::default()
        .ip_or_hostname(server.host.clone())
        .tcp_port(server.port)
        .user(Some(server.user.clone()))
        .pass(server.password.clone())
        .db_name(database)
        .prefer_socket(false);
    Conn::new(options).await.unwrap()
}

/// A connection to this database, with none of the program's own settings.
pub(super) async fn to(url: &StoreUrl) -> Conn {
    match url {
        StoreUrl::Mysql(server) => connect(server, Some(&server.database)).await,
        StoreUrl::Sqlite(path) => panic!("{} is no server", path.display()),
    }
}

#[async_trait::async_trait]
impl Backend for Served {
    fn tracking(&self) -> StoreUrl {
        self.named("tracking")
    }

    fn shard(&self, shard: ShardId) -> StoreUrl {
        self.named(&format!("shard_{shard}"))
    }

    fn balance(&self) -> StoreUrl {
        self.named("balance")
    }

    fn cache(&self) -> StoreUrl {
        self.named("cache")
    }

    async fn make(&self, url: &StoreUrl) {
        let StoreUrl::Mysql(server) = url else { panic!("{url} is no server") };
        let create = format!("CREATE DATABASE {} DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", server.database);
        self.change_server(&create).await;
    }

    async fn texts(&self, url: &StoreUrl, query: &str) -> Vec<String> {
        to(url).await.query(query).await.unwrap()
    }

    async fn change(&self, url: &StoreUrl, statement: &str) {
        to(url).await.query_drop(statement).await.unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let (server, prefix) = (self.server.clone(), self.prefix.clone());
        // A thread of its own: this one may be inside a runtime already.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = connect(&server, None).await;
                let select = "SELECT schema_name FROM information_schema.schemata WHERE LEFT(schema_name, ?) = ?";
                let like = format!("{prefix}_");
                let names: Vec<String> = connection.exec(select, (like.len(), like)).await.unwrap();
                for name in names {
                    connection.query_drop(format!("DROP DATABASE {name}")).await.unwrap();
                }
            });
        });
        if dropped.join().is_err() && !std::thread::panicking() {
            panic!("the test's databases {}_* were not dropped", self.prefix);
        }
    }
}
