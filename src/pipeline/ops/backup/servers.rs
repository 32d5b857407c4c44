//! The commands for databases on servers, which a backup does not hold. They are printed for a person to run: no
//! password is in them.

use std::path::Path;

use super::Database;
use crate::base::db::{Server, Tls};

/// Commands that dump these databases into `DIR-dumps`, in the order in which they must be made.
pub fn dumps(servers: &[(Database, Server)], dir: &Path) -> String {
    let dumps = quoted(&dumps_of(dir));
    let mut text = format!("mkdir -p {dumps}\n");
    for (database, server) in servers {
        text.push_str(&format!(
            "{}mysqldump {} --single-transaction --quick --hex-blob --no-tablespaces --databases {} > {dumps}/{database}.sql\n",
            password(*database, server),
            client(server),
            server.database
        ));
    }
    text
}

/// Commands that put the dumps of `DIR-dumps` back.
pub fn loads(servers: &[(Database, Server)], dir: &Path) -> String {
    let dumps = quoted(&dumps_of(dir));
    let load = |(database, server): &(Database, Server)| {
        format!("{}mysql {} < {dumps}/{database}.sql\n", password(*database, server), client(server))
    };
    servers.iter().map(load).collect()
}

/// The variables that the commands expect passwords in.
pub fn variables(servers: &[(Database, Server)]) -> Vec<String> {
    let of_password = |(database, server): &(Database, Server)| server.password.is_some().then(|| variable(*database));
    servers.iter().filter_map(of_password).collect()
}

fn dumps_of(dir: &Path) -> String {
    format!("{}-dumps", dir.display())
}

fn variable(database: Database) -> String {
    format!("{}_PASSWORD", database.to_string().to_uppercase().replace('-', "_"))
}

/// By the environment: whoever lists processes reads their arguments.
fn password(database: Database, server: &Server) -> String {
    server.password.as_ref().map_or_else(String::new, |_| format!("MYSQL_PWD=\"${}\" ", variable(database)))
}

fn client(server: &Server) -> String {
    let (host, user) = (quoted(&server.host), quoted(&server.user));
    let tls = match &server.tls {
        Tls::Disabled => String::new(),
        Tls::Required => " --ssl-mode=REQUIRED".to_owned(),
        Tls::VerifyCa(authority) => format!(" --ssl-mode=VERIFY_CA{}", ca(authority.as_deref())),
        Tls::VerifyIdentity(authority) => format!(" --ssl-mode=VERIFY_IDENTITY{}", ca(authority.as_deref())),
    };
    format!("--protocol=TCP --host={host} --port={} --user={user}{tls}", server.port)
}

fn ca(authority: Option<&Path>) -> String {
    authority.map_or_else(String::new, |path| format!(" --ssl-ca={}", quoted(&path.display().to_string())))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::db::StoreUrl;

    #[test]
    fn commands_are_exact_and_hold_no_password() {
        let server = |url: &str| match StoreUrl::parse(url).unwrap() {
            StoreUrl::Mysql(server) => server,
            other @ StoreUrl::Sqlite(_) => panic!("{other}"),
        };
        let servers = [
            (
                Database::Tracking,
                server("mysql://ap%27id:geheim@db.example/pipeline_db?ssl-mode=verify-ca&ssl-ca=/a b"),
            ),
            (Database::Balance, server("mysql://root@127.0.0.1:3399/balance_db")),
        ];
        let dir = Path::new("/backup of/monday");
        assert_eq!(
            dumps(&servers, dir),
            "mkdir -p '/backup of/monday-dumps'\n\
             MYSQL_PWD=\"$TRACKING_PASSWORD\" mysqldump --protocol=TCP --host=db.example --port=3306 --user='ap'\\''id' \
             --ssl-mode=VERIFY_CA --ssl-ca='/a b' --single-transaction --quick --hex-blob --no-tablespaces \
             --databases pipeline_db > '/backup of/monday-dumps'/tracking.sql\n\
             mysqldump --protocol=TCP --host=127.0.0.1 --port=3399 --user=root --single-transaction --quick --hex-blob \
             --no-tablespaces --databases balance_db > '/backup of/monday-dumps'/balance.sql\n"
        );
        let loads = loads(&servers, dir);
        assert!(loads.ends_with(
            "mysql --protocol=TCP --host=127.0.0.1 --port=3399 --user=root < '/backup of/monday-dumps'/balance.sql\n"
        ));
        assert!(!loads.contains("geheim"), "{loads}");
        assert_eq!(variables(&servers), ["TRACKING_PASSWORD"]);
    }
}
