//! The list of all settings of one system, or of several together: documents, `config default` and checks come from it.

use super::key::Key;
use super::principal::{self, Listed, Principal};
use super::sources::Profile;

/// Letters that a path may be off by for the one that was meant to be named.
const TYPOS_MAX: usize = 3;

/// All settings, by section, and who has a token.
#[derive(Debug, Clone)]
pub struct Schema {
    /// Without those of the tokens.
    own: Vec<Key>,
    principals: Vec<Listed>,
    keys: Vec<Key>,
}

impl Schema {
    /// The keys of these sections, and of the tokens of these principals in `[auth]`. The operator is added: every system has it.
    pub fn new(sections: &[&[Key]], principals: &[Listed]) -> Self {
        Self::of(sections.concat(), principals.to_vec())
    }

    /// The settings of several systems. What two of them have is listed once; a section that two of them have is one.
    pub fn joined(systems: &[Self]) -> Self {
        let (mut own, mut principals) = (Vec::<Key>::new(), Vec::<Listed>::new());
        for system in systems {
            for key in &system.own {
                if own.iter().any(|known| known.path == key.path) {
                    continue;
                }
                let last = own.iter().rposition(|known| known.parts().0 == key.parts().0);
                own.insert(last.map_or(own.len(), |last| last + 1), *key);
            }
            let is_new = |listed: &&Listed| principals.iter().all(|known| known.principal != listed.principal);
            let new: Vec<Listed> = system.principals.iter().filter(is_new).copied().collect();
            principals.extend(new);
        }
        Self::of(own, principals)
    }

    fn of(own: Vec<Key>, principals: Vec<Listed>) -> Self {
        let mut keys = own.clone();
        let auth = own.iter().rposition(|key| key.parts().0 == principal::SECTION);
        let at = auth.map_or(keys.len(), |last| last + 1);
        let listed = principals.iter().chain([&principal::OPERATOR]);
        keys.splice(at..at, listed.flat_map(|listed| [listed.token, listed.file]));
        Self { own, principals, keys }
    }

    /// All settings, by section.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The principals with the settings of their tokens, the operator at last.
    pub fn listed(&self) -> impl Iterator<Item = &Listed> {
        self.principals.iter().chain([&principal::OPERATOR])
    }

    /// All who may have a token.
    pub fn principals(&self) -> impl Iterator<Item = Principal> {
        self.listed().map(|listed| listed.principal)
    }

    /// The setting with this path.
    pub fn find(&self, path: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.path == path)
    }

    /// The path that was probably meant.
    pub(super) fn nearest(&self, path: &str) -> Option<&'static str> {
        let distance = |key: &Key| (strsim::damerau_levenshtein(key.path, path), key.path);
        let (distance, nearest) = self.keys.iter().map(distance).min()?;
        (distance <= TYPOS_MAX).then_some(nearest)
    }

    /// A settings file with every key, what it means, what it may be, and the default that holds in this profile, all of
    /// it commented out: such a file changes nothing. `of_up` are the defaults that `shopctl up` has of its own.
    pub fn sample(&self, profile: Profile, of_up: &[(Key, String)]) -> String {
        let name = match profile {
            Profile::Local => "local",
            Profile::Container => "container",
        };
        let mut text = format!(
            "# shopctl settings: one file for all roles. Every key is optional. The values are the defaults of the profile\n\
             # \"{name}\", which holds here (SHOPCTL_PROFILE). To change one, remove the # before its name.\n"
        );
        let mut section = "";
        for key in &self.keys {
            let (own, name) = key.parts();
            if own != section {
                section = own;
                text.push_str(&format!("\n[{section}]\n"));
            }
            text.push_str(&format!("# {}\n# {}", key.doc, key.expected()));
            let up = of_up.iter().find(|(of_up, _)| of_up.path == key.path);
            text.push_str(&up.map_or_else(String::new, |(_, value)| format!("; 'shopctl up' has {value} by itself")));
            let default = format!("\n#{name} = {}", key.default_in(profile).toml());
            text.push_str(&format!("{}\n", default.trim_end()));
        }
        text
    }
}
