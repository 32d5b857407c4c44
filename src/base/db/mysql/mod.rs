//! A MySQL 8.0+ / 9 or MariaDB 10.6+ server: sessions, transactions, values, migrations, in the SQL that both understand.

pub(crate) mod bulk;
pub(crate) mod database;
pub(crate) mod facts;
pub(crate) mod fault;
pub(crate) mod migrate;
pub(crate) mod session;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod value;
