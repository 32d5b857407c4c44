//! `shopctl healthcheck`: asks a role on this machine how it is, for the health checks of containers.
//!
//! Sends one GET to the role's probes and waits 2 s at the most. Run: `shopctl healthcheck apid`.

mod target;

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use self::target::{PlaceArgs, bases, noted};
use crate::base::boot::{Exit, Failure, say};
use crate::base::log_format::clean;
use crate::base::output::OutputArgs;
use crate::pipeline::addresses::{self, Noted};
use crate::pipeline::ops::probe::{self, Probe, RoleState};
use crate::pipeline::settings::Context;

/// The longest that the whole may take, whatever is asked.
const TIMEOUT: Duration = Duration::from_secs(2);

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
    #[command(flatten)]
    place: PlaceArgs,
    /// Ask whether it is ready for work, not only whether it lives
    #[arg(long)]
    ready: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Asks and prints a line for each role that is well.
///
/// # Errors
/// [`Failure`] when a role is not well, none answers, or it cannot be found.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    let asking = Asking {
        probe: if args.ready { Probe::Ready } else { Probe::Health },
        output: args.output,
        deadline: Instant::now() + TIMEOUT,
    };
    tokio::task::spawn_blocking(move || {
        let noted = noted(&args.place, &ctx.settings);
        if noted.is_empty() {
            return asking.those_here(&bases(&args.place, &ctx.settings)?);
        }
        noted.iter().try_for_each(|noted| asking.noted(noted))?;
        Ok(Exit::Ok)
    })
    .await?
}

/// What is asked, and until when.
struct Asking {
    probe: Probe,
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
        let url = self.probe.url(&noted.base);
        addresses::verify(noted, self.left())
            .map_err(|why| self.not_well(&url, &format!("{}: {why}", noted.identity.name())))?;
        self.ask(&noted.base)
    }

    fn ask(&self, base: &str) -> Result<(), Failure> {
        let (url, answer) = (self.probe.url(base), probe::ask_at(base, self.probe, self.left()));
        match (answer.state, answer.status) {
            (RoleState::Ready, _) => {
                let line = json!({"url": url, "is_well": true});
                say(&if self.output.is_json() { format!("{line}\n") } else { format!("{url} is well\n") })
            }
            (_, Some(status)) => {
                Err(self.not_well(&url, &format!("status {status} {}", answer.detail.unwrap_or_default())))
            }
            (_, None) => Err(self.not_well(&url, &answer.detail.unwrap_or_default())),
        }
    }

    fn not_well(&self, url: &str, why: &str) -> Failure {
        let failure = Failure::new(format!("{url} is not well: {}", clean(why)));
        let line = json!({"url": url, "is_well": false, "why": why});
        if self.output.is_json() { say(&format!("{line}\n")).err().unwrap_or(failure) } else { failure }
    }
}
