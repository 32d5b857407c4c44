//! `shopctl healthcheck`: asks a role on this machine how it is, for the health checks of containers.
//!
//! Sends one GET to the role's probes and waits 2 s at the most. Run: `shopctl healthcheck apid`.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{apid, balance, cache, ingest, send, split, work};
use crate::base::boot::{Context, Exit, Failure, say};
use crate::base::log_format::clean;
use crate::base::output::OutputArgs;
use crate::pipeline::addresses::{self, Noted};
use crate::pipeline::event::ShardId;
use crate::pipeline::settings::Settings;

/// The longest that the whole may take, whatever is asked.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The ports of all roles but the workers.
const PORTS: [u16; 6] = [ingest::PORT, apid::PORT, balance::PORT, cache::PORT, split::PORT, send::PORT];
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// Asks a role on this machine whether it lives.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  shopctl healthcheck                        whatever role runs here, for HEALTHCHECK in an image
  shopctl healthcheck apid                   this role
  shopctl healthcheck work --shard 1         or with SHARD_ID=1 in the environment
  shopctl healthcheck apid --ready           whether it can do its work too
  shopctl healthcheck http://10.0.0.5:8082   a role that does not listen on 127.0.0.1

It asks 127.0.0.1 at --port, else at server.port of the settings (SERVER_PORT), else where the role
has noted in the shared folder that it listens on this machine, else at the role's own port. What is
noted must be well: every instance, and no process may have ended without removing its note.
Without a role all that noted an address on this machine are asked and must be well; without such
a note those that answer at their own ports, of the workers that of SHARD_ID or those of all shards.
Exit codes: 0 it is well, 1 it is not or does not answer within 2 s, 64 bad usage or settings.")]
pub struct Args {
    /// The role (ingest, apid, balance, cache, split, work, send), or the URL where it listens
    #[arg(value_name = "ROLE|URL", value_parser = target)]
    target: Option<Target>,
    /// The port to ask
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The shard of a worker, 0 to 127
    #[arg(long, env = "SHARD_ID", value_name = "N")]
    shard: Option<ShardId>,
    /// Ask whether it is ready for work, not only whether it lives
    #[arg(long)]
    ready: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// A role by its name in notes and its own port.
    Role(&'static str, u16),
    Worker,
    Url(String),
}

fn target(text: &str) -> Result<Target, String> {
    Ok(match text {
        "ingest" => Target::Role("event-ingest", ingest::PORT),
        "apid" => Target::Role("pipeline-apid", apid::PORT),
        "balance" => Target::Role("balance-daemon", balance::PORT),
        "cache" => Target::Role("cache-service", cache::PORT),
        "split" => Target::Role("shard-splitter", split::PORT),
        "send" => Target::Role("mysql-sender", send::PORT),
        "work" => Target::Worker,
        url if url.starts_with("http://") => Target::Url(url.trim_end_matches('/').to_owned()),
        _ => {
            let roles = "ingest, apid, balance, cache, split, work, send";
            return Err(format!("expected {roles}, or a URL such as http://127.0.0.1:8082"));
        }
    })
}

/// Asks and prints a line for each role that is well.
///
/// # Errors
/// [`Failure`] when a role is not well, none answers, or it cannot be found.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    let asking = Asking {
        path: if args.ready { "/ready" } else { "/health" },
        output: args.output,
        deadline: Instant::now() + TIMEOUT,
    };
    tokio::task::spawn_blocking(move || {
        let noted = noted(&args, &ctx.settings);
        if noted.is_empty() {
            return asking.those_here(&bases(&args, &ctx.settings)?);
        }
        noted.iter().try_for_each(|noted| asking.noted(noted))?;
        Ok(Exit::Ok)
    })
    .await?
}

/// What has noted on this machine that it listens: of the role, or of all. Nothing where a port or a URL is named.
fn noted(args: &Args, settings: &Settings) -> Vec<Noted> {
    if args.port.or(settings.server.port).is_some() {
        return Vec::new();
    }
    let role = match args.target {
        Some(Target::Url(_)) => return Vec::new(),
        Some(Target::Worker) if args.shard.is_none() => return Vec::new(),
        Some(Target::Worker) => Some("shard-worker"),
        Some(Target::Role(name, _)) => Some(name),
        None => None,
    };
    // A role without a shard of its own has all of them.
    let has_shard =
        |noted: &Noted| args.shard.is_none() || noted.identity.shard.is_none_or(|own| Some(own) == args.shard);
    let is_asked = |noted: &Noted| role.is_none_or(|role| noted.identity.role == role && has_shard(noted));
    addresses::noted(settings).into_iter().filter(|noted| noted.is_here && is_asked(noted)).collect()
}

/// Where the role is asked, or all roles.
fn bases(args: &Args, settings: &Settings) -> Result<Vec<String>, Failure> {
    let here = |port: u16| format!("http://127.0.0.1:{port}");
    let worker = |shard: ShardId| work::PORT + u16::from(shard.get());
    let port = match (&args.target, args.port.or(settings.server.port)) {
        (Some(Target::Url(url)), _) => return Ok(vec![url.clone()]),
        (_, Some(port)) => port,
        (Some(Target::Role(_, port)), None) => *port,
        (Some(Target::Worker), None) => match args.shard {
            Some(shard) => worker(shard),
            None => return Err(Failure::usage("which worker? say --shard N, or set SHARD_ID")),
        },
        (None, None) => {
            let shards = settings.pipeline.shards_count.shards();
            let workers = shards.filter(|shard| args.shard.is_none_or(|own| own == *shard)).map(worker);
            let own = args.shard.map(worker).into_iter();
            let ports: BTreeSet<u16> = PORTS.into_iter().chain(workers).chain(own).collect();
            return Ok(ports.into_iter().map(here).collect());
        }
    };
    if port == 0 {
        return Err(Failure::usage("server.port is 0, so the role has any free port: say which with --port N"));
    }
    Ok(vec![here(port)])
}

/// What is asked, and until when.
struct Asking {
    path: &'static str,
    output: OutputArgs,
    deadline: Instant,
}

impl Asking {
    /// What is left; a moment at least, so that the answer is that of the call.
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    /// Asks them; where there are several, those that do not answer at all are not here.
    fn those_here(&self, bases: &[String]) -> Result<Exit, Failure> {
        let is_here = |base: &&String| {
            let addr = base.trim_start_matches("http://").parse::<SocketAddr>();
            addr.is_ok_and(|addr| TcpStream::connect_timeout(&addr, self.left()).is_ok())
        };
        let here: Vec<String> =
            if let [one] = bases { vec![one.clone()] } else { bases.iter().filter(is_here).cloned().collect() };
        if here.is_empty() {
            let bases = bases.join(", ");
            return Err(Failure::new(format!("no role answers at {bases}; name it, or say its port with --port N")));
        }
        here.iter().try_for_each(|base| self.ask(base))?;
        Ok(Exit::Ok)
    }

    /// Asks the role that noted this, and no other that answers there.
    fn noted(&self, noted: &Noted) -> Result<(), Failure> {
        let url = format!("{}{}", noted.base, self.path);
        addresses::verify(noted, self.left())
            .map_err(|why| self.not_well(&url, &format!("{}: {why}", noted.identity.name())))?;
        self.ask(&noted.base)
    }

    fn ask(&self, base: &str) -> Result<(), Failure> {
        let url = format!("{base}{}", self.path);
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(self.left()))
            .max_redirects(0)
            .proxy(None)
            .build()
            .into();
        let mut response = agent.get(&url).call().map_err(|e| self.not_well(&url, &e.to_string()))?;
        if response.status().is_success() {
            let line = json!({"url": url, "is_well": true});
            return say(&if self.output.is_json() { format!("{line}\n") } else { format!("{url} is well\n") });
        }
        let status = response.status().as_u16();
        let problem = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json::<serde_json::Value>();
        let detail = problem.ok().and_then(|problem| problem["detail"].as_str().map(str::to_owned));
        Err(self.not_well(&url, &format!("status {status} {}", detail.unwrap_or_default())))
    }

    fn not_well(&self, url: &str, why: &str) -> Failure {
        let failure = Failure::new(format!("{url} is not well: {}", clean(why)));
        let line = json!({"url": url, "is_well": false, "why": why});
        if self.output.is_json() { say(&format!("{line}\n")).err().unwrap_or(failure) } else { failure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::config::{Sources, load};

    fn settings(flags: &[(&str, &str)]) -> Settings {
        let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        load::load(&Sources { flags, folder: "/nonexistent".into(), ..Sources::default() }).unwrap().settings
    }

    fn args(word: &str, port: Option<u16>, shard: Option<u64>) -> Args {
        let target = (!word.is_empty()).then(|| target(word).unwrap());
        Args { target, port, shard: shard.and_then(ShardId::new), ready: false, output: OutputArgs::default() }
    }

    #[test]
    fn the_port_is_that_of_the_flag_or_the_settings_or_the_role() {
        let (own, set) = (settings(&[]), settings(&[("server.port", "9000")]));
        for (args, settings, expected) in [
            (args("apid", None, None), &own, "http://127.0.0.1:8082"),
            (args("work", None, Some(3)), &own, "http://127.0.0.1:8103"),
            (args("apid", None, None), &set, "http://127.0.0.1:9000"),
            (args("", None, None), &set, "http://127.0.0.1:9000"),
            (args("send", Some(7), None), &set, "http://127.0.0.1:7"),
            (args("http://h:1/", Some(7), None), &set, "http://h:1"),
        ] {
            assert_eq!(bases(&args, settings).unwrap(), [expected]);
        }
        let free = settings(&[("server.port", "0")]);
        for (args, settings) in [(args("work", None, None), &own), (args("apid", None, None), &free)] {
            assert_eq!(bases(&args, settings).unwrap_err().exit, Exit::Usage, "{args:?}");
        }
        let all = bases(&args("", None, Some(3)), &own).unwrap();
        assert!(all.contains(&"http://127.0.0.1:8082".to_owned()) && all.contains(&"http://127.0.0.1:8103".to_owned()));
        let every = bases(&args("", None, None), &settings(&[("pipeline.shards_count", "3")])).unwrap();
        for port in [8100, 8101, 8102] {
            assert!(every.contains(&format!("http://127.0.0.1:{port}")), "the worker at {port} is not asked");
        }
        assert!(target("juggle").is_err());
    }
}
