//! SIGHUP: the settings are read again while the role runs. Tokens and the log's level take effect at once; what else
//! was changed is named, and faulty settings change nothing.

use std::io::IsTerminal;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::base::config::{Auth, Loaded, Logging, Principal, Sections, Sources, load};
use crate::base::log_format::Levels;

/// What is changed while a role runs.
pub struct Reload<S> {
    sources: Sources,
    /// As they were at the start; their tokens are those of the running role.
    started: Loaded<S>,
    levels: Levels,
    level: String,
}

/// What new settings come to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    /// These principals have other tokens now.
    Tokens(Vec<Principal>),
    /// The role may listen beyond loopback: it must not lose its last token while it runs.
    LastToken,
    /// The log has another level now.
    Level,
    /// Another value of this key waits for a restart.
    Restart(&'static str),
}

impl<S: Sections + Send + 'static> Reload<S> {
    /// What a role was started with.
    pub fn new(sources: Sources, started: Loaded<S>, levels: Levels) -> Self {
        let level = started.settings.logging().level.clone();
        Self { sources, started, levels, level }
    }

    /// Listens for SIGHUP from now on.
    ///
    /// # Errors
    /// Whatever the system says when the handler cannot be installed.
    pub fn on_hangup(mut self) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let at_start = terminals();
        tokio::spawn(async move {
            while next(&mut hangup, at_start).await {
                // Files are read: on a thread of its own.
                let reloaded = tokio::task::spawn_blocking(move || {
                    self.reload();
                    self
                });
                match reloaded.await {
                    Ok(same) => self = same,
                    Err(e) => return log::error!("reading the settings again ended abnormally: {e}"),
                }
            }
        });
        Ok(())
    }

    fn reload(&mut self) {
        let loaded = match load::load::<S>(&self.sources) {
            Ok(loaded) => loaded,
            Err(faults) => {
                for fault in faults.0 {
                    log::error!("settings read again: they are not right, so all stays as it was: {fault}");
                }
                return;
            }
        };
        let changes = changes(&self.started, &loaded, &self.level);
        if changes.is_empty() {
            log::info!("settings read again: nothing is changed");
        }
        for change in changes {
            self.apply(&change, &loaded);
        }
    }

    fn apply(&mut self, change: &Change, loaded: &Loaded<S>) {
        let settings = &loaded.settings;
        match change {
            Change::Tokens(principals) => {
                self.started.settings.auth().replace_tokens(settings.auth());
                let names: Vec<&str> = principals.iter().map(|principal| principal.name()).collect();
                log::info!("settings read again: the tokens of {} are changed and take effect", names.join(", "));
            }
            Change::LastToken => log::warn!(
                "settings read again: no token is left in the settings; the ones before stay in effect, as to run without any needs a restart"
            ),
            Change::Level => match self.levels.replace(&settings.logging().level) {
                Ok(()) => {
                    self.level.clone_from(&settings.logging().level);
                    log::info!("settings read again: logging.level is changed to {} and takes effect", self.level);
                }
                Err(why) => log::error!("settings read again: the log's level stays as it was: {why}"),
            },
            Change::Restart(key) => {
                log::warn!(setting = *key; "settings read again: {key} is changed and needs a restart")
            }
        }
    }
}

/// Waits for the signal; false when no more will come. When the terminal went away that the role was started on, the
/// signal says that: the role stops then, as other programs do.
async fn next(hangup: &mut Signal, at_start: [bool; 3]) -> bool {
    if hangup.recv().await.is_none() {
        return false;
    }
    if is_lost(at_start, terminals()) {
        let own = rustix::process::getpid();
        return rustix::process::kill_process(own, rustix::process::Signal::TERM).is_err();
    }
    true
}

/// Which of input, output and log are a terminal. A log may be a file while a person watches the output.
fn terminals() -> [bool; 3] {
    [std::io::stdin().is_terminal(), std::io::stdout().is_terminal(), std::io::stderr().is_terminal()]
}

/// Whether one that was a terminal is none any more.
fn is_lost(at_start: [bool; 3], now: [bool; 3]) -> bool {
    at_start.into_iter().zip(now).any(|(before, now)| before && !now)
}

/// What differs from what runs. Pure.
fn changes<S: Sections>(running: &Loaded<S>, loaded: &Loaded<S>, level: &str) -> Vec<Change> {
    let mut changes = Vec::new();
    let (before, after) = (running.settings.auth(), loaded.settings.auth());
    let is_other = |principal: &Principal| secrets(before, *principal) != secrets(after, *principal);
    let principals: Vec<Principal> = running.schema().principals().filter(is_other).collect();
    if after.tokens().is_empty() && !before.tokens().is_empty() {
        changes.push(Change::LastToken);
    } else if !principals.is_empty() {
        changes.push(Change::Tokens(principals));
    }
    if loaded.settings.logging().level != level {
        changes.push(Change::Level);
    }
    let is_of_token = |key: &str| running.schema().listed().any(|of| of.token.path == key || of.file.path == key);
    let is_applied = |key: &&str| *key == Logging::KEYS.level.path || is_of_token(key);
    changes.extend(running.changes(loaded).into_iter().filter(|key| !is_applied(key)).map(Change::Restart));
    changes
}

fn secrets(auth: &Auth, principal: Principal) -> Vec<String> {
    let tokens = auth.tokens();
    tokens.iter().filter(|token| token.principal == principal).map(|token| token.secret.expose().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::config::test_system::{PRODUCER, TestSystem};

    fn loaded(flags: &[(&str, &str)]) -> Loaded<TestSystem> {
        let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        load::load(&Sources { flags, folder: "/nonexistent".into(), ..Sources::default() }).unwrap()
    }

    #[test]
    fn tokens_and_level_take_effect_and_the_rest_needs_a_restart() {
        let (one, two) = ("one-token-0123456789", "two-token-0123456789");
        let running = loaded(&[("auth.operator", one)]);
        let same = loaded(&[("auth.operator", one)]);
        assert_eq!(changes(&running, &same, "INFO"), []);
        let other =
            loaded(&[("auth.operator", two), ("auth.producer", one), ("logging.level", "DEBUG"), ("server.port", "7")]);
        let tokens = Change::Tokens(vec![PRODUCER, Principal::OPERATOR]);
        assert_eq!(changes(&running, &other, "INFO"), [tokens, Change::Level, Change::Restart("server.port")]);
        // A restart stays due however often the settings are read again; a level that was taken over is not changed.
        assert_eq!(changes(&running, &loaded(&[("auth.operator", one), ("logging.level", "DEBUG")]), "DEBUG"), []);
    }

    #[test]
    fn a_terminal_that_went_away_is_told_whatever_was_redirected() {
        let none = [false; 3];
        assert!(is_lost([true, false, false], none) && is_lost([false, true, false], none));
        assert!(is_lost([true; 3], none));
        assert!(!is_lost(none, none), "a daemon has none");
        assert!(!is_lost([true, false, true], [true, false, true]));
    }

    #[test]
    fn the_last_token_is_not_lost_while_the_role_runs() {
        let running = loaded(&[("auth.operator", "one-token-0123456789")]);
        assert_eq!(changes(&running, &loaded(&[]), "INFO"), [Change::LastToken]);
        let insecure = loaded(&[("auth.insecure", "true")]);
        assert_eq!(changes(&running, &insecure, "INFO"), [Change::LastToken, Change::Restart("auth.insecure")]);
    }
}
