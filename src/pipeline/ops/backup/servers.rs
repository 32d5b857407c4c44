//! The commands for databases on servers, which a backup does not hold. They are printed for a person to run: no
//! password is in them.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::Database;
use crate::base::db::{Server, Tls};
use crate::pipeline::files::artifact;

/// Bytes of a dump's end that are read.
const END_BYTES: u64 = 256;

/// Commands that dump these databases into `DIR-dumps`, in the order in which they must be made.
pub fn dumps(servers: &[(Database, Server)], dir: &Path) -> String {
    let dumps = quoted(&dumps_of(dir));
    let mut text = format!("mkdir -p {dumps}\n");
    for (database, server) in servers {
        text.push_str(&format!(
            "{}mysqldump {} --single-transaction --quick --hex-blob --no-tablespaces --databases {} > {dumps}/{database}.part && mv {dumps}/{database}.part {dumps}/{database}.sql\n",
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

/// Dumps of `DIR-dumps` that are not there or not complete: a dump that is cut off is loaded without a complaint.
pub fn incomplete(servers: &[(Database, Server)], dir: &Path) -> Vec<String> {
    let path = |(database, _): &(Database, Server)| PathBuf::from(dumps_of(dir)).join(format!("{database}.sql"));
    let paths = servers.iter().map(path).filter(|path| !is_complete(path).unwrap_or(false));
    paths.map(|path| path.display().to_string()).collect()
}

/// Whether a dump ends as a dump of MySQL or MariaDB does.
fn is_complete(dump: &Path) -> std::io::Result<bool> {
    let mut file = artifact::open(dump)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(END_BYTES)))?;
    let mut end = Vec::new();
    file.take(END_BYTES).read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).contains("-- Dump completed"))
}

/// What MariaDB's programs have in place of `--ssl-mode`, where a server wants TLS.
pub fn tls_of_mariadb(servers: &[(Database, Server)]) -> Option<&'static str> {
    let is_used = servers.iter().any(|(_, server)| server.tls != Tls::Disabled);
    is_used.then_some("--ssl-mode=REQUIRED is --ssl there, VERIFY_CA and VERIFY_IDENTITY are --ssl-verify-server-cert")
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

/// By the environment: other users can list the arguments of a process.
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

/// The command that replaces an embedded database. A log that the old one left would be applied to the new one.
pub fn replacement(from: &Path, to: &Path) -> String {
    let word = |path: &Path, suffix: &str| quoted(&format!("{}{suffix}", path.display()));
    let [wal, shm, journal] = ["-wal", "-shm", "-journal"].map(|suffix| word(to, suffix));
    format!("rm -f -- {wal} {shm} {journal} && cp -- {} {}", word(from, ""), word(to, ""))
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
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
    fn a_database_is_replaced_without_the_log_of_the_old_one() {
        assert_eq!(
            replacement(Path::new("/b/x.sqlite"), Path::new("/a b/x.sqlite")),
            "rm -f -- '/a b/x.sqlite-wal' '/a b/x.sqlite-shm' '/a b/x.sqlite-journal' && cp -- /b/x.sqlite '/a b/x.sqlite'"
        );
    }

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
             --databases pipeline_db > '/backup of/monday-dumps'/tracking.part \
             && mv '/backup of/monday-dumps'/tracking.part '/backup of/monday-dumps'/tracking.sql\n\
             mysqldump --protocol=TCP --host=127.0.0.1 --port=3399 --user=root --single-transaction --quick --hex-blob \
             --no-tablespaces --databases balance_db > '/backup of/monday-dumps'/balance.part \
             && mv '/backup of/monday-dumps'/balance.part '/backup of/monday-dumps'/balance.sql\n"
        );
        let loads = loads(&servers, dir);
        assert!(loads.ends_with(
            "mysql --protocol=TCP --host=127.0.0.1 --port=3399 --user=root < '/backup of/monday-dumps'/balance.sql\n"
        ));
        assert!(!loads.contains("geheim"), "{loads}");
        assert_eq!(variables(&servers), ["TRACKING_PASSWORD"]);
    }
    #[test]
    fn a_dump_that_is_cut_off_is_found() {
        let temp = tempfile::tempdir().unwrap();
        let StoreUrl::Mysql(server) = StoreUrl::parse("mysql://root@127.0.0.1/x").unwrap() else { panic!() };
        let servers =
            [(Database::Tracking, server.clone()), (Database::Balance, server.clone()), (Database::Cache, server)];
        let (dir, dumps) = (temp.path().join("monday"), temp.path().join("monday-dumps"));
        std::fs::create_dir(&dumps).unwrap();
        let rows = "INSERT INTO x VALUES (1);\n".repeat(100);
        std::fs::write(dumps.join("tracking.sql"), format!("{rows}-- Dump completed on 2026-01-01  0:00:00\n"))
            .unwrap();
        std::fs::write(dumps.join("balance.sql"), rows).unwrap();
        let wrong = ["balance.sql", "cache.sql"].map(|name| dumps.join(name).display().to_string());
        assert_eq!(incomplete(&servers, &dir), wrong);
    }
}
