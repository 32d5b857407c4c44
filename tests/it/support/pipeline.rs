//! A whole pipeline of separate processes on one folder of its own, with each called role behind a proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use shopctl::base::config::{Sources, load};
use shopctl::pipeline::settings::Settings;

use super::database::{Databases, Kept, Rows, Served};
use super::oracle::{Known, OPENING, Oracle, Row, World};
use super::process::{Ended, Process, Under};
use super::proxy::Proxy;
use super::{PATIENCE, eventually, pause_briefly};

/// The defaults, but for these.
pub(crate) fn settings_of(flags: Vec<(String, String)>) -> Settings {
    load(&Sources { flags, folder: "/nonexistent".into(), ..Sources::default() }).unwrap().settings
}

/// How many shards these tests have.
pub(crate) const SHARDS: u8 = 2;

/// The long-running roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Apid,
    Balance,
    Cache,
    Split,
    Work0,
    Work1,
    Send,
    Ingest,
}

/// The roles that the others call.
pub(crate) const SERVICES: [Role; 3] = [Role::Apid, Role::Balance, Role::Cache];

/// The services and the roles that files go through.
pub(crate) const STAGES: [Role; 7] =
    [Role::Apid, Role::Balance, Role::Cache, Role::Split, Role::Work0, Role::Work1, Role::Send];

impl Role {
    /// Its command.
    pub(crate) fn args(self) -> &'static [&'static str] {
        match self {
            Self::Apid => &["apid"],
            Self::Balance => &["balance"],
            Self::Cache => &["cache"],
            Self::Split => &["split"],
            Self::Work0 => &["work", "--shard", "0"],
            Self::Work1 => &["work", "--shard", "1"],
            Self::Send => &["send"],
            Self::Ingest => &["ingest"],
        }
    }
}

/// The pipeline; dropping it kills its processes and removes its folder.
pub(crate) struct Pipeline {
    roles: BTreeMap<Role, Process>,
    /// The logs of those that ended.
    logs: Vec<String>,
    /// Before the API.
    pub(crate) proxy: Proxy,
    /// Before balance-daemon and cache-service.
    money: [Proxy; 2],
    settings: Vec<String>,
    databases: Databases,
    shared: PathBuf,
    temp: tempfile::TempDir,
}

impl Pipeline {
    /// A pipeline with these settings beside the short waits of tests; nothing runs yet.
    pub(crate) fn new(more: &[&str]) -> Self {
        Self::with(None, Databases::Sqlite, more)
    }

    /// The same with its databases where they are told to be; they are made first.
    pub(crate) fn served(databases: Databases, more: &[&str]) -> Self {
        let pipeline = Self::with(None, databases, more);
        pipeline.run(&["migrate", "up"], 0);
        pipeline
    }

    /// The same with its shared folder on another file system.
    pub(crate) fn on(shared: &Path, more: &[&str]) -> Self {
        Self::with(Some(shared), Databases::Sqlite, more)
    }

    /// The same with a folder and databases that are there already, as an earlier version left them.
    pub(crate) fn opened(shared: &Path, databases: Databases, more: &[&str]) -> Self {
        Self::with(Some(shared), databases, more)
    }

    fn with(shared: Option<&Path>, databases: Databases, more: &[&str]) -> Self {
        let (temp, proxy) = (tempfile::tempdir().unwrap(), Proxy::start());
        let money = [Proxy::start(), Proxy::start()];
        let shared = shared.map_or_else(|| temp.path().join("shared"), Path::to_owned);
        let mut settings = vec![
            "server.port=0".to_owned(),
            "logging.format=json".to_owned(),
            "pipeline.lease_ms=1500".to_owned(),
            "pipeline.backoff_ms=50".to_owned(),
            "pipeline.backoff_max_ms=500".to_owned(),
            "pipeline.claim_wait_ms=500".to_owned(),
            "events.generate=false".to_owned(),
            "events.generation_interval=1".to_owned(),
            format!("pipeline.url={}", proxy.url()),
            format!("balance.url={}", money[0].root()),
            format!("cache.url={}", money[1].root()),
            format!("shared.dir={}", shared.display()),
            format!("balance.opening_balance={OPENING}"),
        ];
        settings.extend(more.iter().map(|setting| (*setting).to_owned()));
        if let Databases::Server { settings: of_server, .. } = &databases {
            settings.extend(of_server.iter().cloned());
        }
        Self { roles: BTreeMap::new(), logs: Vec::new(), proxy, money, settings, databases, shared, temp }
    }

    /// A pipeline with all its stages running.
    pub(crate) fn running(more: &[&str]) -> Self {
        let mut pipeline = Self::new(more);
        STAGES.into_iter().for_each(|role| pipeline.start(role));
        pipeline
    }

    /// The proxy before a service.
    pub(crate) fn proxy_of(&self, service: Role) -> &Proxy {
        match service {
            Role::Balance => &self.money[0],
            Role::Cache => &self.money[1],
            _ => &self.proxy,
        }
    }

    /// Starts a role; services are waited for, the others find their way.
    pub(crate) fn start(&mut self, role: Role) {
        self.start_under(role, &Under::default());
    }

    /// The same under a tracer or with an environment.
    pub(crate) fn start_under(&mut self, role: Role, under: &Under) {
        let process = self.spawn_under(under, role.args());
        if SERVICES.contains(&role) {
            self.proxy_of(role).set_backend(process.wait_port());
        }
        let before = self.roles.insert(role, process);
        assert!(before.is_none(), "{role:?} runs already");
    }

    /// The running role.
    pub(crate) fn role(&self, role: Role) -> &Process {
        &self.roles[&role]
    }

    /// Starts the services and these roles.
    pub(crate) fn start_with_services(&mut self, roles: &[Role]) {
        SERVICES.iter().chain(roles).for_each(|role| self.start(*role));
    }

    /// Kills a role as a power cut would.
    pub(crate) fn kill9(&mut self, role: Role) {
        let ended = self.roles.remove(&role).unwrap().kill9();
        self.logs.push(ended.log);
    }

    /// Asks a role to stop; it must end with code 0 in time.
    pub(crate) fn terminate(&mut self, role: Role) -> String {
        let ended = self.roles.remove(&role).unwrap().terminate(PATIENCE).expect_code(0);
        self.logs.push(ended.log.clone());
        ended.log
    }

    /// Takes a role out, for a test that does something else with it.
    pub(crate) fn take(&mut self, role: Role) -> Process {
        self.roles.remove(&role).unwrap()
    }

    /// Starts any command with the settings of this pipeline.
    pub(crate) fn spawn(&self, args: &[&str], stdin: Option<Vec<u8>>) -> Process {
        self.spawn_with(args, &[], stdin)
    }

    /// Starts any command with further settings.
    pub(crate) fn spawn_with(&self, args: &[&str], more: &[&str], stdin: Option<Vec<u8>>) -> Process {
        Process::start(self.temp.path(), &self.arguments(args, more), stdin)
    }

    /// Starts any command under a tracer or with an environment.
    pub(crate) fn spawn_under(&self, under: &Under, args: &[&str]) -> Process {
        Process::start_under(under, self.temp.path(), &self.arguments(args, &[]), None)
    }

    fn arguments(&self, args: &[&str], more: &[&str]) -> Vec<String> {
        let mut all: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        for setting in self.settings.iter().map(String::as_str).chain(more.iter().copied()) {
            all.extend(["--set".to_owned(), setting.to_owned()]);
        }
        all
    }

    /// Runs any command to its end, which must be this code.
    pub(crate) fn run(&self, args: &[&str], code: i32) -> Ended {
        self.spawn(args, None).wait_exit(PATIENCE).expect_code(code)
    }

    /// Where a file beside the shared folder is, or will be.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// A file beside the shared folder.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.beside(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Imports this content in files of so many lines.
    pub(crate) fn import(&self, content: &[u8], batch: usize) -> Ended {
        let path = self.write("input.ndjson", content);
        self.run(&["ingest", "--from", path.to_str().unwrap(), "--batch", &batch.to_string()], 0)
    }

    /// The settings of a caller in this process.
    pub(crate) fn settings(&self) -> Settings {
        let flags = vec![
            ("shared.dir".to_owned(), self.shared.display().to_string()),
            ("pipeline.url".to_owned(), self.proxy.url()),
        ];
        settings_of(flags)
    }

    /// The shared folder.
    pub(crate) fn shared(&self) -> PathBuf {
        self.shared.clone()
    }

    /// The files of one folder of the shared folder, in their order.
    pub(crate) fn list(&self, folder: &str) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.shared().join(folder)) else { return Vec::new() };
        let is_plain = |path: &PathBuf| path.is_file() && !name_of(path).starts_with('.');
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(is_plain).collect();
        paths.sort();
        paths
    }

    /// Name and content of the event files, in their order.
    pub(crate) fn event_files(&self) -> Vec<(String, Vec<u8>)> {
        let paths = self.list("events").into_iter().filter(|path| name_of(path).ends_with(".event-ingest.txt"));
        paths.map(|path| (name_of(&path)[..14].to_owned(), std::fs::read(&path).unwrap())).collect()
    }

    /// Reads from the API; `None` when it does not answer, cannot answer now (503) or does not know it (404). Any other
    /// answer is a fault.
    pub(crate) fn find(&self, path: &str) -> Option<Value> {
        let request = ureq::get(format!("{}{path}", self.proxy.url())).config().http_status_as_error(false).build();
        let mut answer = request.call().ok()?;
        let (status, body) = (answer.status().as_u16(), answer.body_mut().read_to_string().ok()?);
        match status {
            200 => Some(serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))),
            404 | 503 => None,
            other => panic!("{path} is answered {other}: {body}"),
        }
    }

    /// Posts to the API, which must take it.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        let mut answer = ureq::post(format!("{}{path}", self.proxy.url())).send_json(body).unwrap();
        answer.body_mut().read_json().unwrap()
    }

    /// How many deliveries are done, and how many tasks there are, once the API says so: it may be away for a while.
    pub(crate) fn delivered(&self) -> (u64, u64) {
        let mut found = None;
        eventually("the API answers", PATIENCE, || {
            found = self.find("/metrics/summary");
            found.is_some()
        });
        let summary = found.unwrap();
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{summary}"));
        (number(&summary["by_stage"]["mysql_sender"]["done"]), number(&summary["total"]))
    }

    /// Waits until every event file of the folder is delivered.
    pub(crate) fn wait_settled(&self) {
        // A running ingest may make files for returns that wait.
        let tasks = || self.event_files().len() as u64 * u64::from(SHARDS);
        assert!(tasks() > 0, "there is nothing to wait for");
        let began = Instant::now();
        while self.delivered() != (tasks(), tasks()) {
            let tasks = tasks();
            assert!(began.elapsed() < PATIENCE * 2, "{tasks} tasks are not delivered: {}", self.what_is_open());
            pause_briefly();
        }
    }

    /// What a person would look at: where the tasks are, and the last words of every role.
    fn what_is_open(&self) -> String {
        let ended = self.spawn(&["status"], None).wait_exit(PATIENCE);
        let last = |log: String| log.lines().rev().take(5).collect::<Vec<_>>().join("\n");
        let logs = self.roles.iter().map(|(role, process)| format!("{role:?}:\n{}", last(process.log())));
        format!("{}{}\n{}", ended.out, ended.log, logs.collect::<Vec<_>>().join("\n"))
    }

    /// The audit of the settled pipeline; it must be clean.
    pub(crate) fn audit(&self) -> Value {
        let ended = self.run(&["audit", "--settled", "--json"], 0);
        serde_json::from_str(&ended.out).unwrap()
    }

    /// What really is in the databases and the rejects files.
    pub(crate) fn world(&self) -> World {
        self.world_of(SHARDS)
    }

    /// The same of so many shards.
    pub(crate) fn world_of(&self, shards: u8) -> World {
        let mut world = World { pending: self.pending(), ..World::default() };
        for shard in 0..shards {
            let rows = self.rows(shard);
            let count = rows.len();
            let rows: BTreeSet<Row> = rows.into_iter().collect();
            assert_eq!(rows.len(), count, "shard {shard} has a row twice");
            world.rows.insert(shard, rows);
        }
        let (mut folders, mut lines) = (vec!["shard-splitter/rejects".to_owned()], 0);
        folders.extend((0..shards).map(|shard| format!("shard-worker-{shard}/rejects")));
        for path in folders.iter().flat_map(|folder| self.list(folder)) {
            for line in std::fs::read(path).unwrap().split_inclusive(|byte| *byte == b'\n') {
                lines += 1;
                let line: Value = serde_json::from_slice(line).unwrap();
                let text = |key: &str| line[key].as_str().map(str::to_owned);
                let encoded = text("raw_base64").map(|encoded| BASE64_STANDARD.decode(encoded).unwrap());
                let raw = encoded.unwrap_or_else(|| text("raw").unwrap().into_bytes());
                let line = line["line"].as_u64().unwrap();
                world.rejected.insert((text("file").unwrap(), line, text("reason").unwrap(), raw));
            }
        }
        assert_eq!(world.rejected.len(), lines, "a line was rejected twice");
        world
    }

    /// The rows of one shard's database.
    pub(crate) fn rows(&self, shard: u8) -> Vec<Row> {
        let query =
            "SELECT source_file, source_line, event_type, shop_id, user_id, CAST(timestamp AS CHAR), shard FROM events";
        let rows = self.open(&format!("shop_shard_{shard}")).texts(query).into_iter().map(|row| {
            let [file, line, kind, shop, user, timestamp, own] = <[_; 7]>::try_from(row).unwrap();
            let id = |id: Option<String>| id.map(|id| id.parse().unwrap());
            assert_eq!(own.unwrap(), shard.to_string());
            let (line, kind) = (line.unwrap().parse().unwrap(), kind.unwrap().parse().unwrap());
            (file.unwrap(), line, kind, id(shop), id(user), timestamp.unwrap())
        });
        rows.collect()
    }

    /// The returns that no task has taken up; none where their database is not made yet.
    fn pending(&self) -> BTreeSet<(String, u64)> {
        let is_there = self.shared().join("db/cache_db.sqlite").exists();
        if matches!(self.databases, Databases::Sqlite) && !is_there {
            return BTreeSet::new();
        }
        // Not 'done': a task says so after its report, and perhaps only when the next one begins.
        let query = "SELECT filename, line FROM pending_return WHERE taken_file IS NULL";
        let rows = self.open("cache_db").texts(query).into_iter().map(|row| {
            let [file, line] = <[_; 2]>::try_from(row).unwrap().map(Option::unwrap);
            (file, line.parse().unwrap())
        });
        rows.collect()
    }

    /// Who has how much in the accounts that were used, in hundredths.
    pub(crate) fn balances(&self) -> BTreeMap<i64, i128> {
        let rows = self.open("balance_db").texts("SELECT id, balance FROM user").into_iter().map(|row| {
            let [user, balance] = <[_; 2]>::try_from(row).unwrap().map(Option::unwrap);
            // Whole hundredths, or a decimal with both of its places.
            (user.parse().unwrap(), balance.replace('.', "").parse().unwrap())
        });
        rows.collect()
    }

    /// One of its databases, wherever it is.
    pub(crate) fn open(&self, name: &str) -> Box<dyn Rows> {
        match &self.databases {
            Databases::Sqlite => Box::new(self.database(name)),
            Databases::Server { url, .. } => Box::new(Served(format!("{url}{name}"))),
        }
    }

    /// The same with a connection that is kept, for who asks often.
    pub(crate) fn keep_open(&self, name: &str) -> Box<dyn Rows + Send> {
        match &self.databases {
            Databases::Sqlite => Box::new(self.database(name)),
            Databases::Server { url, .. } => Box::new(Kept::connect(&format!("{url}{name}"))),
        }
    }

    /// How many rows one shard's database has; none if it is not there yet.
    pub(crate) fn row_count(&self, shard: u8) -> usize {
        let name = format!("shop_shard_{shard}");
        if !self.shared().join(format!("db/{name}.sqlite")).exists() {
            return 0;
        }
        let database = self.database(&name);
        // One that is just being made has no table yet.
        if !has_table(&database, "events") {
            return 0;
        }
        let count = database.query_row("SELECT COUNT(*) FROM events", [], |row| row.get::<_, u32>(0)).unwrap();
        usize::try_from(count).unwrap()
    }

    /// One of its embedded databases, for reading.
    pub(crate) fn database(&self, name: &str) -> Connection {
        let path = self.shared().join("db").join(format!("{name}.sqlite"));
        let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        database.busy_timeout(PATIENCE).unwrap();
        database
    }

    /// Compares everything with the oracle, audits, and looks for panics in all logs. Answers the oracle.
    pub(crate) fn assert_all_is_well(&self, known: &Known) -> Oracle {
        let mut oracle = Oracle::new(SHARDS);
        for (name, content) in self.event_files() {
            oracle.file(&name, &content, known);
        }
        let world = self.world();
        world.assert_is(&oracle.world);
        oracle.assert_balances(&self.balances());
        let audit = self.audit();
        assert_eq!(audit["rejects"].as_u64(), Some(world.rejected.len() as u64), "{audit}");
        self.assert_no_panic();
        oracle
    }

    /// No role has panicked.
    pub(crate) fn assert_no_panic(&self) {
        let running = self.roles.values().map(Process::log);
        for log in self.logs.iter().cloned().chain(running) {
            assert!(!log.contains("panicked"), "{log}");
        }
    }
}

/// Whether an embedded database has this table by now.
pub(crate) fn has_table(database: &Connection, name: &str) -> bool {
    let query = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?1";
    database.query_row(query, [name], |row| row.get::<_, u32>(0)).unwrap() > 0
}

/// A path's last part.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}
