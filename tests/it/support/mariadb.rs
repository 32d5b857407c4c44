//! A MariaDB server of a test's own, which it may kill: its data in a temporary folder, its port any free one.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::database::{Databases, Rows, Served};
use super::{PATIENCE, eventually};

const NEEDS: &str = "this test needs a MariaDB server of its own (Debian: apt-get install mariadb-server); \
    'tests/run --embedded' runs what needs none";

/// The server; dropping it ends it.
pub(crate) struct Mariadb {
    port: u16,
    child: Option<Child>,
    folder: tempfile::TempDir,
}

/// Through which port each kind of database is reached.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) tracking: u16,
    pub(crate) shards: u16,
    pub(crate) balance: u16,
    pub(crate) cache: u16,
}

impl Mariadb {
    /// A new server with a user that has no more rights than the roles need.
    pub(crate) fn start() -> Self {
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        if is_root() {
            run(Command::new("chown").arg("mysql").arg(folder.path()));
        }
        let mut install = Command::new("mariadb-install-db");
        install.args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"]);
        install.args(as_user()).arg(format!("--datadir={}", folder.path().join("data").display()));
        run(&mut install);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { port, child: None, folder };
        server.restart();
        let rights = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP, REFERENCES, LOCK TABLES, CREATE VIEW";
        server.root().run(&[&format!("GRANT {rights} ON *.* TO shop@'127.0.0.1' IDENTIFIED BY 'shop'")]);
        server
    }

    /// Starts it again after its end, on the same port and data.
    pub(crate) fn restart(&mut self) {
        assert!(self.child.is_none());
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let program = ["mariadbd", "/usr/sbin/mariadbd"].into_iter();
        let spawned = program.map(|program| {
            Command::new(program)
                .arg("--no-defaults")
                .args(as_user())
                .args([format!("--datadir={}", path("data")), format!("--socket={}", path("socket"))])
                .args([format!("--pid-file={}", path("pid")), format!("--port={}", self.port)])
                .args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--max-connections=100"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
        });
        self.child = Some(spawned.filter_map(Result::ok).next().expect(NEEDS));
        // The port alone says little: the server answers once its tables are open.
        let address = format!("127.0.0.1:{}", self.port);
        eventually("MariaDB answers", PATIENCE, || {
            std::net::TcpStream::connect(&address).is_ok_and(|mut stream| {
                let mut first = [0; 5];
                std::io::Read::read_exact(&mut stream, &mut first).is_ok() && first[4] == 10
            })
        });
    }

    /// Ends it without a word.
    pub(crate) fn kill9(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends it as an operator does.
    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        child.wait().unwrap();
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its port for every kind of database.
    pub(crate) fn ports(&self) -> Ports {
        Ports { tracking: self.port, shards: self.port, balance: self.port, cache: self.port }
    }

    /// Its superuser.
    pub(crate) fn root(&self) -> Served {
        Served(format!("mysql://root@127.0.0.1:{}", self.port))
    }

    /// A pipeline's databases on it, each kind reached through its own port.
    pub(crate) fn databases(&self, ports: Ports) -> Databases {
        let user = "mysql://shop:shop@127.0.0.1";
        Databases::Server {
            url: format!("{}/", self.root().0),
            settings: vec![
                format!("database.tracking={user}:{}/pipeline_db", ports.tracking),
                format!("database.shard={user}:{}/shop_shard_{{shard}}", ports.shards),
                format!("database.balance={user}:{}/balance_db", ports.balance),
                format!("database.cache={user}:{}/cache_db", ports.cache),
            ],
        }
    }

    /// What the server says a status variable is.
    pub(crate) fn number(&self, query: &str) -> u64 {
        self.root().texts(query)[0][0].clone().unwrap().parse().unwrap()
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap_or_default();
            child.wait().map(drop).unwrap_or_default();
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The server refuses to run as root.
fn as_user() -> Option<&'static str> {
    is_root().then_some("--user=mysql")
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}; {NEEDS}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stdout));
}
