//! Where the roles may be asked.

use super::super::{apid, balance, cache, ingest, send, split, work};
use crate::pipeline::addresses;
use crate::pipeline::ops::probe::Place;
use crate::pipeline::settings::Settings;

/// The services where the settings name them, and the other roles where they have noted that they listen, else at their
/// own ports on this machine.
pub(super) fn role_addresses(settings: &Settings) -> Vec<Place> {
    let mut places = by_settings(settings);
    // A service at its own port is one of those that may run elsewhere.
    let defaults = [apid::PORT, balance::PORT, cache::PORT].map(|port| format!("http://127.0.0.1:{port}"));
    for place in &mut places {
        place.is_named &= !defaults.contains(&place.base) || place.role == "pipeline-apid";
    }
    for noted in addresses::noted(settings) {
        add(&mut places, &noted);
    }
    places
}

/// Every instance is asked. A service that the settings name elsewhere is not looked for where it has ended.
fn add(places: &mut Vec<Place>, noted: &addresses::Noted) {
    let ended = noted.is_gone.then(|| noted.clone());
    let place = Place { role: noted.identity.name(), base: noted.base.clone(), is_named: true, ended };
    if let Some(same) = places.iter_mut().find(|other| other.role == place.role && other.base == place.base) {
        *same = place;
        return;
    }
    let is_elsewhere = |other: &Place| other.role == place.role && other.is_named && other.ended.is_none();
    if noted.is_gone && places.iter().any(is_elsewhere) {
        return;
    }
    places.retain(|other| other.role != place.role || other.is_named);
    places.push(place);
}

fn by_settings(settings: &Settings) -> Vec<Place> {
    let named = |role: &str, url: &str| Place { role: role.to_owned(), base: origin(url), is_named: true, ended: None };
    let here = |role: &str, port: u16| Place {
        role: role.to_owned(),
        base: format!("http://127.0.0.1:{port}"),
        is_named: false,
        ended: None,
    };
    let mut places = vec![
        named("pipeline-apid", &settings.pipeline.url),
        named("balance-daemon", &settings.balance.url),
        named("cache-service", &settings.cache.url),
        here("event-ingest", ingest::PORT),
        here("shard-splitter", split::PORT),
        here("mysql-sender", send::PORT),
    ];
    let shards = settings.pipeline.shards_count.shards();
    places.extend(shards.map(|shard| here(&format!("shard-worker-{shard}"), work::PORT + u16::from(shard.get()))));
    places
}

/// The URL without its path.
fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    format!("{scheme}://{}", rest.split('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::config::{Sources, load};

    #[test]
    fn services_are_asked_where_the_settings_say_and_workers_of_all_shards_at_their_ports() {
        let flags = [("pipeline.url", "http://h:1/api/v1/pipeline"), ("pipeline.shards_count", "3")];
        let flags = flags.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let sources = Sources { flags, folder: "/nonexistent".into(), ..Sources::default() };
        let places = role_addresses(&load(&sources).unwrap().settings);
        let base = |role: &str| places.iter().find(|place| place.role == role).map(|place| place.base.as_str());
        assert_eq!(base("pipeline-apid"), Some("http://h:1"));
        assert_eq!(base("shard-worker-2"), Some("http://127.0.0.1:8102"));
        assert_eq!(base("shard-worker-3"), None);
        assert!(places.iter().all(|place| place.is_named == (place.role == "pipeline-apid")));
    }
    #[test]
    fn a_role_is_asked_where_it_has_noted_that_it_listens() {
        let shared = tempfile::tempdir().unwrap();
        let flags = vec![("shared.dir".to_owned(), shared.path().display().to_string())];
        let settings: Settings =
            load(&Sources { flags, folder: "/nonexistent".into(), ..Sources::default() }).unwrap().settings;
        let shard = crate::pipeline::event::ShardId::new(1);
        let notes = [("shard-worker", shard, 4001), ("mysql-sender", shard, 4002), ("cache-service", None, 4003)];
        let noted = notes.map(|(role, shard, port)| {
            let identity = addresses::Identity::new(role, shard);
            let addr = std::net::SocketAddr::from(([127, 0, 0, 1], port));
            addresses::publish(shared.path(), identity, addr, &crate::base::clock::Clock::System).unwrap()
        });
        let places = role_addresses(&settings);
        for (role, base, is_named) in [
            ("shard-worker-1", "http://127.0.0.1:4001", true),
            ("mysql-sender-1", "http://127.0.0.1:4002", true),
            ("cache-service", "http://127.0.0.1:4003", true),
            ("shard-worker-0", "http://127.0.0.1:8100", false),
        ] {
            let expected = Place { role: role.to_owned(), base: base.to_owned(), is_named, ended: None };
            assert!(places.contains(&expected), "{role}: {places:?}");
        }
        let identity = addresses::Identity::new("shard-worker", shard);
        let addr = std::net::SocketAddr::from(([127, 0, 0, 1], 4004));
        let second = addresses::publish(shared.path(), identity, addr, &crate::base::clock::Clock::System).unwrap();
        let places = role_addresses(&settings);
        let workers = places.iter().filter(|place| place.role == "shard-worker-1").count();
        assert_eq!(workers, 2, "every instance: {places:?}");
        drop((noted, second));
        assert!(role_addresses(&settings).iter().all(|place| !place.base.contains(":400")), "a stop removes the note");
    }
}
