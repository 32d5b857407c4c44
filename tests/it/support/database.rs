//! What is in a database, as another program reads it: rows of text.

use std::sync::{Mutex, PoisonError};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Row, Value};
use rusqlite::types::ValueRef;

/// A row, as texts; nothing for NULL.
pub(crate) type Texts = Vec<Option<String>>;

/// Where a pipeline keeps its databases.
#[derive(Clone)]
pub(crate) enum Databases {
    /// Files in its shared folder.
    Sqlite,
    /// `pipeline_db`, `shop_shard_<n>`, `balance_db` and `cache_db` on a server that speaks MySQL's protocol.
    Server {
        /// How the tests read one of them, up to its name: `mysql://USER@HOST:PORT/`, and what all names begin with.
        url: String,
        /// What the pipeline's settings say.
        settings: Vec<String>,
    },
}

/// A database that can be asked.
pub(crate) trait Rows {
    /// The rows of a query.
    fn texts(&self, query: &str) -> Vec<Texts>;
}

impl Rows for rusqlite::Connection {
    fn texts(&self, query: &str) -> Vec<Texts> {
        let mut statement = self.prepare_cached(query).unwrap();
        let columns = statement.column_count();
        let text = |value: ValueRef<'_>| match value {
            ValueRef::Null => None,
            ValueRef::Integer(number) => Some(number.to_string()),
            other => Some(other.as_str().unwrap().to_owned()),
        };
        let rows = statement.query_map([], |row| (0..columns).map(|at| row.get_ref(at).map(text)).collect());
        rows.unwrap().map(|row| row.unwrap()).collect()
    }
}

/// A database on a server, by its URL.
pub(crate) struct Served(pub(crate) String);

impl Served {
    /// Runs statements, each by itself.
    pub(crate) fn run(&self, statements: &[&str]) {
        self.with(async |connection| {
            for statement in statements {
                connection.query_drop(*statement).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
            }
        });
    }

    fn with<T: Send>(&self, work: impl AsyncFnOnce(&mut Conn) -> T + Send) -> T {
        // A thread of its own: the caller may be inside a runtime already.
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let mut connection = Conn::new(Opts::from_url(&self.0).unwrap()).await.unwrap();
                    let answer = work(&mut connection).await;
                    connection.disconnect().await.unwrap();
                    answer
                })
            });
            asked.join().unwrap()
        })
    }
}

impl Rows for Served {
    fn texts(&self, query: &str) -> Vec<Texts> {
        texts_of(self.with(async |connection| connection.query(query).await.unwrap()))
    }
}

/// A connection to a database on a server that is kept, for who asks often.
pub(crate) struct Kept {
    runtime: tokio::runtime::Runtime,
    connection: Mutex<Conn>,
}

impl Kept {
    /// Connects to the database of this URL.
    pub(crate) fn connect(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connection = runtime.block_on(Conn::new(Opts::from_url(url).unwrap())).unwrap();
        Self { runtime, connection: Mutex::new(connection) }
    }
}

impl Rows for Kept {
    fn texts(&self, query: &str) -> Vec<Texts> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        texts_of(self.runtime.block_on(connection.query(query)).unwrap())
    }
}

fn texts_of(rows: Vec<Row>) -> Vec<Texts> {
    let text = |value: Value| match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8(bytes).unwrap()),
        other => Some(other.as_sql(true)),
    };
    rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect()
}
