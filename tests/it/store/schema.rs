//! The schemas for MySQL and MariaDB in `db/` say the same as each other, and as the SQLite migrations.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Words at the begin of a line inside CREATE TABLE that name no column.
const NO_COLUMN: [&str; 8] = ["--", "PRIMARY", "UNIQUE", "KEY", "INDEX", "CONSTRAINT", "CHECK", "FOREIGN"];

/// Kinds of database: the folder of the migrations, the name in `db/ddl.sql`, and how many tables there are.
const KINDS: [(&str, &str, usize); 4] = [
    ("tracking", "pipeline_db", 3),
    ("shard", "shop_shard_0", 6),
    ("balance", "balance_db", 3),
    ("cache", "cache_db", 3),
];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The SQLite migrations of one kind of database, in order.
fn migrations(kind: &str) -> String {
    migrations_of("sqlite", kind)
}

fn migrations_of(dialect: &str, kind: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("db/migrations").join(dialect).join(kind);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// The CREATE TABLE statements by (database, table), each whole, with the columns that were added later.
fn tables(sql: &str) -> BTreeMap<(String, String), String> {
    let mut tables = BTreeMap::new();
    let mut database = String::new();
    for (at, _) in sql.match_indices('\n').chain([(0, "")]) {
        let rest = sql[at..].trim_start_matches('\n');
        if let Some(name) = rest.strip_prefix("USE ") {
            database = name.split(';').next().unwrap().to_owned();
        }
        if let Some(create) = rest.strip_prefix("CREATE TABLE ") {
            let name = create.trim_start_matches("IF NOT EXISTS ").split_whitespace().next().unwrap();
            let whole = create.split(";\n").next().unwrap();
            tables.insert((database.clone(), name.to_owned()), plain(whole));
        }
        if let Some(alter) = rest.strip_prefix("ALTER TABLE ") {
            let (name, column) = alter.split(";\n").next().unwrap().split_once(" ADD COLUMN ").unwrap();
            let create = tables.get_mut(&(database.clone(), name.to_owned())).unwrap();
            // A later column stands before the keys, as in a table that is made at once.
            let is_key = |line: &&str| NO_COLUMN.iter().any(|word| line.starts_with(word)) || line.starts_with(')');
            let key = create.lines().find(is_key).unwrap().to_owned();
            *create = create.replacen(&format!("\n{key}"), &format!("\n{column},\n{key}"), 1);
        }
    }
    tables
}

/// A statement without its comments and with single spaces.
fn plain(statement: &str) -> String {
    let lines = statement.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n")
}

fn columns(create: &str) -> BTreeSet<String> {
    let lines = create.lines().skip(1).map(str::trim).take_while(|line| !line.starts_with(')'));
    lines
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| !NO_COLUMN.contains(word))
        .map(|word| word.trim_matches('`').to_owned())
        .collect()
}

fn in_database(sql: &str, database: &str) -> BTreeMap<String, String> {
    let all = tables(sql).into_iter().filter(|((own, _), _)| own == database);
    all.map(|((_, table), create)| (table, create)).collect()
}

#[test]
fn both_files_have_the_same_tracking_tables() {
    let (alone, all) = (read("db/pipeline_ddl.sql"), read("db/ddl.sql"));
    let tracking = in_database(&alone, "pipeline_db");
    assert_eq!(tracking.len(), 3);
    assert_eq!(in_database(&all, "pipeline_db"), tracking);
    let shard = in_database(&all, "shop_shard_0");
    assert_eq!(
        shard.keys().collect::<Vec<_>>(),
        ["events", "good", "order_return", "purchase_history", "sent_file", "shop"]
    );
    assert_eq!(in_database(&all, "shop_shard_1"), shard);
}

/// A database made by hand from `db/ddl.sql` is the one that the program makes itself.
#[test]
fn the_files_for_people_say_what_the_migrations_do() {
    let all = read("db/ddl.sql");
    for (kind, database, _) in KINDS {
        assert_eq!(in_database(&all, database), in_database(&migrations_of("mysql", kind), ""), "{kind}");
    }
}

#[test]
fn the_columns_are_those_of_the_embedded_databases() {
    let all = read("db/ddl.sql");
    for (kind, database, count) in KINDS {
        let embedded: BTreeMap<String, BTreeSet<String>> =
            in_database(&migrations(kind), "").iter().map(|(table, sql)| (table.clone(), columns(sql))).collect();
        let served: BTreeMap<String, BTreeSet<String>> =
            in_database(&all, database).iter().map(|(table, sql)| (table.clone(), columns(sql))).collect();
        assert_eq!(embedded.len(), count);
        assert!(embedded.values().all(|columns| columns.len() >= 4), "{embedded:?}");
        assert_eq!(served, embedded);
    }
}

#[test]
fn indexes_have_the_same_names_in_both() {
    let served = read("db/ddl.sql");
    for (kind, _, _) in KINDS {
        for line in migrations(kind).lines() {
            if let Some(name) = line.strip_prefix("CREATE INDEX ").and_then(|rest| rest.split(' ').next()) {
                assert!(served.contains(&format!("KEY {name} (")), "{name} is missing in db/ddl.sql");
            }
        }
    }
}

/// What every table must name, because the server's default is another one at every place.
#[test]
fn every_table_names_its_engine_and_characters() {
    for file in ["db/ddl.sql", "db/pipeline_ddl.sql"] {
        for ((_, table), create) in tables(&read(file)) {
            assert!(create.contains("ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4"), "{file}: {table}");
            assert!(!create.contains(" TIMESTAMP") && !create.contains(" JSON"), "{file}: {table}");
            for line in create.lines().filter(|line| line.contains("DATETIME")) {
                assert!(line.contains("DATETIME(3)"), "{file}: {table}: {line}");
            }
        }
    }
}

/// The columns and the order that the first clients know stand first.
#[test]
fn the_tracking_table_begins_with_the_agreed_columns() {
    let create = &in_database(&read("db/pipeline_ddl.sql"), "pipeline_db")["pipeline_tracking"];
    let names: Vec<&str> = create.lines().skip(1).filter_map(|line| line.split_whitespace().next()).take(9).collect();
    let agreed = "id filename event_ingest_status shard_splitter_status shard_worker_status mysql_sender_status shard \
                  created_at updated_at";
    assert_eq!(names.join(" "), agreed);
    assert!(create.contains("UNIQUE KEY pipeline_tracking_task (filename, shard)"));
    assert_eq!(create.matches("ENUM('new', 'started', 'done', 'failed') NOT NULL DEFAULT 'new'").count(), 4);
}
