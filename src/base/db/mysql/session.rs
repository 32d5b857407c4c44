//! How every connection is set up, and what is asked of the server before the first statement (docs/semantics.md, 5).

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, PoolConstraints, PoolOpts, SslOpts};
use tokio::time::timeout;

use super::fault;
use crate::base::db::url::{Server, Tls};
use crate::base::db::{Error, Result};

/// How long a connection may take to come about, waiting for a free one included.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(15);
/// How long a transaction of a few statements may take: a server that accepts and never answers is as good as gone.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How long a connection may say nothing before the server ends it and what it has begun, in seconds. A process that is
/// paused in mid-transaction, or whose machine is gone without a word, holds its rows for so long and no longer; the
/// servers' own is eight hours. Between two statements we do no more than read a thousand lines of a file.
const SILENCE_SECS: u64 = 60;
/// A connection that was not used for so long is closed, well before the server does it.
const IDLE_MAX: Duration = Duration::from_secs(SILENCE_SECS / 2);
/// Silence after which a connection is probed.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Statements that a connection keeps prepared.
const STATEMENTS_KEPT: usize = 128;
/// What the session of every connection must be. Without the strict mode a value that does not fit is cut to one that
/// does; another time zone moves every moment; READ COMMITTED locks no gaps.
const SESSION: [&str; 6] = [
    "SET NAMES utf8mb4",
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
    "SET SESSION time_zone = '+00:00'",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION innodb_lock_wait_timeout = 10",
    // Limits the wait for a table that another session is altering. The servers' default is a day or more.
    "SET SESSION lock_wait_timeout = 60",
];

/// What the server said of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// The longest packet that it takes, in bytes.
    pub(crate) packet_bytes: usize,
}

/// How the driver connects. `database` is left out only to create it.
pub(crate) fn options(server: &Server, connections_max: usize, database: Option<&str>) -> OptsBuilder {
    let connections = PoolConstraints::new(0, connections_max.max(1)).unwrap_or_default();
    let pool = PoolOpts::default()
        .with_constraints(connections)
        .with_inactive_connection_ttl(IDLE_MAX)
        .with_ttl_check_interval(IDLE_MAX / 10)
        // A reset would throw away the session and every prepared statement at each return to the pool.
        .with_reset_connection(false);
    OptsBuilder::default()
        .ip_or_hostname(server.host.clone())
        .tcp_port(server.port)
        .user(Some(server.user.clone()))
        .pass(server.password.clone())
        .db_name(database)
        .setup(setup(SILENCE_SECS))
        // Looked at when a connection is taken out, while the pool looks now and then.
        .conn_ttl(IDLE_MAX)
        .stmt_cache_size(STATEMENTS_KEPT)
        .tcp_keepalive(Some(KEEPALIVE))
        // The server's own socket is of no use in another container.
        .prefer_socket(false)
        // Rows that an UPDATE matched, not only those that it changed: a lease extended within one millisecond is held.
        .client_found_rows(true)
        .ssl_opts(tls(&server.tls))
        .pool_opts(pool)
}

/// A connection to no database.
pub(crate) async fn connect(server: &Server) -> Result<Conn> {
    let (options, place) = (options(server, 1, None), server.to_string());
    match timeout(CONNECT_MAX, Conn::new(options)).await {
        Ok(connected) => connected.map_err(|e| fault::of_connect(e, &place)),
        Err(_) => Err(Error::unavailable(format!("{place}: no connection within {CONNECT_MAX:?}"))),
    }
}

/// The statements that set up a session whose connection may say nothing for so long.
pub(crate) fn setup(silence_secs: u64) -> Vec<String> {
    let silence = format!("SET SESSION wait_timeout = {silence_secs}");
    SESSION.iter().map(|statement| (*statement).to_owned()).chain([silence]).collect()
}

fn tls(tls: &Tls) -> Option<SslOpts> {
    let known = |authority: &Option<std::path::PathBuf>| match authority {
        Some(path) => SslOpts::default().with_root_certs(vec![path.clone().into()]).with_disable_built_in_roots(true),
        None => SslOpts::default(),
    };
    match tls {
        Tls::Disabled => None,
        Tls::Required => {
            Some(SslOpts::default().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true))
        }
        Tls::VerifyCa(authority) => Some(known(authority).with_danger_skip_domain_validation(true)),
        Tls::VerifyIdentity(authority) => Some(known(authority)),
    }
}

/// Checks that the session is what it was set to, and warns of a server that may forget what it acknowledged.
pub(crate) async fn check(connection: &mut Conn, place: &str) -> Result<Facts> {
    let variables: Vec<(String, String)> = connection
        .query(
            "SHOW VARIABLES WHERE Variable_name IN ('sql_mode', 'time_zone', 'tx_isolation', 'transaction_isolation',
             'wait_timeout', 'max_allowed_packet', 'innodb_flush_log_at_trx_commit', 'innodb_doublewrite', 'version')",
        )
        .await
        .map_err(fault::of_statement)?;
    let value = |name: &str| variables.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value.as_str());
    let isolation = [value("transaction_isolation"), value("tx_isolation")].concat();
    let wrong = [
        ("sql_mode", !value("sql_mode").contains("STRICT_ALL_TABLES")),
        ("time_zone", value("time_zone") != "+00:00"),
        ("transaction_isolation", !isolation.contains("READ-COMMITTED")),
        ("wait_timeout", value("wait_timeout") != SILENCE_SECS.to_string()),
    ];
    if let Some((name, _)) = wrong.iter().find(|(_, is_wrong)| *is_wrong) {
        return Err(Error::broken(format!(
            "{place}: the session's {name} is '{}' although it was set; is there a proxy in between?",
            value(name)
        )));
    }
    let flush = value("innodb_flush_log_at_trx_commit");
    if flush != "1" {
        log::warn!(place; "innodb_flush_log_at_trx_commit is {flush}, not 1: a power cut may undo commits that were acknowledged");
    }
    if value("innodb_doublewrite").eq_ignore_ascii_case("off") {
        log::warn!(place; "innodb_doublewrite is off: a power cut may tear pages");
    }
    let packet_bytes = value("max_allowed_packet").parse().unwrap_or(1 << 20);
    log::debug!(place, version = value("version"), packet_bytes; "the database answers");
    Ok(Facts { packet_bytes })
}

/// Refuses tables that know no transactions: a marker and its rows would not come together.
pub(crate) async fn check_engines(connection: &mut Conn, place: &str) -> Result<()> {
    let other: Option<String> = connection
        .query_first(
            "SELECT CONCAT(table_name, ' is ', engine) FROM information_schema.tables
             WHERE table_schema = DATABASE() AND engine IS NOT NULL AND engine <> 'InnoDB' LIMIT 1",
        )
        .await
        .map_err(fault::of_statement)?;
    match other {
        Some(other) => {
            Err(Error::broken(format!("{place}: table {other}, it must be InnoDB; ALTER TABLE ... ENGINE = InnoDB")))
        }
        None => Ok(()),
    }
}
