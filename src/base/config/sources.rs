//! Where settings come from: a file, the environment, flags, and which defaults hold.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::key::Key;
use super::load::Faults;

/// The variable that says which defaults hold.
const PROFILE: &str = "SHOPCTL_PROFILE";

/// Which defaults hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// On a developer's machine: loopback addresses, `./shared`, text logs.
    #[default]
    Local,
    /// In a container: the seed's defaults. The image says so by `SHOPCTL_PROFILE=container`.
    Container,
}

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config FILE`.
    pub file: Option<PathBuf>,
    /// `--set section.key=value`, and flags that stand for a setting.
    pub flags: Vec<(String, String)>,
    /// The environment.
    pub environment: HashMap<String, String>,
    /// Variables that are not UTF-8, in name or value.
    pub unreadable: Vec<String>,
    /// Values that a role puts in place of the defaults.
    pub role_defaults: Vec<(Key, String)>,
    /// Look for `shopctl.toml` here if no file is named.
    pub folder: PathBuf,
}

impl Sources {
    /// The sources of this process: its environment and its folder.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let (environment, unreadable) = read_environment(std::env::vars_os());
        Self { file, flags, environment, unreadable, role_defaults: Vec::new(), folder: PathBuf::from(".") }
    }

    /// Which defaults hold here.
    ///
    /// # Errors
    /// [`Faults`] when `SHOPCTL_PROFILE` names none.
    pub fn find_profile(&self) -> Result<Profile, Faults> {
        self.profile().map_err(|fault| Faults(vec![fault]))
    }

    pub(super) fn profile(&self) -> Result<Profile, String> {
        match self.environment.get(PROFILE).map(String::as_str) {
            None | Some("" | "local") => Ok(Profile::Local),
            Some("container") => Ok(Profile::Container),
            Some(other) => Err(format!("{PROFILE} is '{other}', it must be local or container")),
        }
    }

    /// Whether the environment asks for plain output.
    pub(super) fn is_plain(&self) -> bool {
        self.environment.get("NO_COLOR").is_some_and(|value| !value.is_empty())
    }
}

/// The variables that are text, and the names of those that are none.
fn read_environment(vars: impl Iterator<Item = (OsString, OsString)>) -> (HashMap<String, String>, Vec<String>) {
    let (mut environment, mut unreadable) = (HashMap::new(), Vec::new());
    for (name, value) in vars {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => drop(environment.insert(name, value)),
            (name, _) => unreadable.push(name.unwrap_or_else(|name| name.to_string_lossy().into_owned())),
        }
    }
    unreadable.sort();
    (environment, unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_are_no_text_are_kept_apart() {
        use std::os::unix::ffi::OsStringExt;
        let bytes = |text: &[u8]| OsString::from_vec(text.to_vec());
        let vars = [
            (bytes(b"SHOPCTL__SERVER__HOST"), bytes(b"\xff\xfe")),
            (bytes(b"LESSOPEN"), bytes(b"\xff")),
            (bytes(b"PATH"), bytes(b"/bin")),
        ];
        let (environment, unreadable) = read_environment(vars.into_iter());
        assert_eq!(environment.into_iter().collect::<Vec<_>>(), [("PATH".to_owned(), "/bin".to_owned())]);
        assert_eq!(unreadable, ["LESSOPEN", "SHOPCTL__SERVER__HOST"]);
    }

    #[test]
    fn a_profile_is_one_of_two() {
        let of = |name: &str| {
            Sources { environment: [(PROFILE.to_owned(), name.to_owned())].into(), ..Sources::default() }.find_profile()
        };
        assert_eq!(
            (of(""), of("local"), of("container")),
            (Ok(Profile::Local), Ok(Profile::Local), Ok(Profile::Container))
        );
        assert!(of("cloud").unwrap_err().0[0].contains("'cloud'"));
    }
}
