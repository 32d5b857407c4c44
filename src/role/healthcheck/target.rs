//! Which roles are meant, and where they are asked.

use std::collections::BTreeSet;

use super::super::{apid, balance, cache, ingest, send, split, work};
use crate::base::boot::Failure;
use crate::pipeline::addresses::{self, Noted};
use crate::pipeline::event::ShardId;
use crate::pipeline::settings::Settings;

/// The ports of all roles but the workers.
const PORTS: [u16; 6] = [ingest::PORT, apid::PORT, balance::PORT, cache::PORT, split::PORT, send::PORT];

/// The place that is asked.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PlaceArgs {
    /// The role (ingest, apid, balance, cache, split, work, send), or the URL where it listens
    #[arg(value_name = "ROLE|URL", value_parser = parse)]
    pub(super) target: Option<Target>,
    /// The port to ask
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) port: Option<u16>,
    /// The shard of a worker, 0 to 127
    #[arg(long, env = "SHARD_ID", value_name = "N")]
    pub(super) shard: Option<ShardId>,
}

/// What the command line names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A role by its name in notes and its own port.
    Role(&'static str, u16),
    /// The worker of a shard.
    Worker,
    /// A base URL.
    Url(String),
}

/// The target of this word or URL.
pub(super) fn parse(text: &str) -> Result<Target, String> {
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

/// What has noted on this machine that it listens: of the role, or of all. Nothing where a port or a URL is named.
pub(super) fn noted(args: &PlaceArgs, settings: &Settings) -> Vec<Noted> {
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
pub(super) fn bases(args: &PlaceArgs, settings: &Settings) -> Result<Vec<String>, Failure> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::boot::Exit;
    use crate::base::config::{Sources, load};

    fn settings(flags: &[(&str, &str)]) -> Settings {
        let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        load::load(&Sources { flags, folder: "/nonexistent".into(), ..Sources::default() }).unwrap().settings
    }

    fn args(word: &str, port: Option<u16>, shard: Option<u64>) -> PlaceArgs {
        let target = (!word.is_empty()).then(|| parse(word).unwrap());
        PlaceArgs { target, port, shard: shard.and_then(ShardId::new) }
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
        assert!(parse("juggle").is_err());
    }
}
