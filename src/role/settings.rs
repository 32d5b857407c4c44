//! The settings of all systems: one file, one environment and one list of keys for every role.

use crate::base::config::{Auth, Logging, Reader, Schema, Sections, Server};
use crate::{hub, pipeline};

/// Puts the settings of the systems together; every role checks all of them, and runs with those of its system.
macro_rules! systems {
    ($($(#[$doc:meta])+ $system:ident: $settings:ty,)+) => {
        /// The settings of all systems, checked.
        #[derive(Debug, Clone)]
        pub struct Settings {
            server: Server,
            logging: Logging,
            auth: Auth,
            $($(#[$doc])+ pub $system: $settings,)+
        }

        impl Sections for Settings {
            fn schema() -> Schema {
                Schema::joined(&[$(<$settings>::schema()),+])
            }

            fn read(reader: &mut Reader<'_>) -> Option<Self> {
                let (server, logging, auth) = (Server::read(reader), Logging::read(reader), Auth::read(reader));
                $(let $system = <$settings>::read(reader);)+
                Some(Self { server: server?, logging: logging?, auth: auth?, $($system: $system?,)+ })
            }

            fn server(&self) -> &Server {
                &self.server
            }

            fn logging(&self) -> &Logging {
                &self.logging
            }

            fn auth(&self) -> &Auth {
                &self.auth
            }
        }
    };
}

systems! {
    /// Of the pipeline.
    pipeline: pipeline::settings::Settings,
    /// Of the event hub.
    hub: hub::settings::Settings,
}

/// All settings, and where each value came from.
pub type Loaded = crate::base::config::Loaded<Settings>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::config::key::{Key, KeyKind};
    use crate::base::config::{Profile, Sources, load};

    fn loaded(sources: Sources) -> Loaded {
        load::load(&Sources { folder: "/nonexistent".into(), ..sources }).unwrap()
    }

    /// Two values that a key may have, neither of them necessarily its default.
    fn values(key: &Key) -> [String; 2] {
        let texts = match key.kind {
            KeyKind::Int(least, most) => return [least, most].map(|number| number.to_string()),
            KeyKind::Choice(words) => [words[0], words[words.len() - 1]],
            KeyKind::Rate => ["0.5", "1.0"],
            KeyKind::Bool => ["true", "false"],
            KeyKind::Secret => ["0123456789abcdef", "fedcba9876543210"],
            KeyKind::Text => match key.parts().1 {
                "url" => ["http://a:1/x", "http://b:2/x"],
                "level" => ["DEBUG", "WARN"],
                "opening_balance" => ["1.00", "2.00"],
                "shard" => ["sqlite:///a_{shard}", "sqlite:///b_{shard}"],
                _ if key.path.starts_with("database.") || matches!(key.path, "hub.database" | "hub.bus") => {
                    ["sqlite:///a", "sqlite:///b"]
                }
                _ => ["a", "b"],
            },
        };
        texts.map(str::to_owned)
    }

    /// For each key: what the environment says holds, and what a flag says holds against it.
    #[test]
    fn every_key_is_set_by_its_variable_and_by_a_flag() {
        for key in Settings::schema().keys().iter().filter(|key| !key.path.ends_with("_file")) {
            let [first, second] = values(key);
            let line = |loaded: &Loaded| {
                let section = loaded.show_json(true);
                section[key.parts().0][key.parts().1].clone()
            };
            for name in [Some(key.variable().as_str()), key.short].into_iter().flatten() {
                let environment = [(name.to_owned(), first.clone())].into();
                let sources = Sources { environment, ..Sources::default() };
                let (by_name, flags) = (loaded(sources.clone()), vec![(key.path.to_owned(), second.clone())]);
                let by_flag = loaded(Sources { flags, ..sources });
                assert!(line(&by_name)["origin"].as_str().unwrap().starts_with("environment"), "{name}");
                assert_eq!(line(&by_flag)["origin"], "flag", "{name}");
                assert_eq!(by_flag.changes(&by_name), [key.path]);
            }
        }
    }

    #[test]
    fn keys_and_principals_are_named_once() {
        let schema = Settings::schema();
        let mut paths: Vec<&str> = schema.keys().iter().map(|key| key.path).collect();
        let count = paths.len();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), count);
        assert_eq!(schema.keys().iter().filter(|key| key.short.is_some()).count(), 3);
    }

    /// As every role and `shopctl up` see it, in both profiles.
    #[test]
    fn the_sample_file_changes_nothing() {
        let of_up = super::super::up::Args::default().defaults();
        for (name, profile) in [("local", Profile::Local), ("container", Profile::Container)] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("own.toml");
            std::fs::write(&file, Settings::schema().sample(profile, &of_up)).unwrap();
            let environment = [("SHOPCTL_PROFILE".to_owned(), name.to_owned())].into();
            let sources = Sources { environment, role_defaults: of_up.clone(), ..Sources::default() };
            let with = loaded(Sources { file: Some(file), ..sources.clone() });
            assert_eq!(with.show(true), loaded(sources).show(true));
        }
    }
}
