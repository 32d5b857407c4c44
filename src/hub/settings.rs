//! The settings of the event hub, and who makes calls in it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::model::rules::EVENT_TYPES;
use super::model::{EventType, Rules};
use super::service::Limits;
use crate::base::config::principals;
use crate::base::config::spec::{DAY_SECS, days, flag, hours, number, parsed, port_at, secs};
use crate::base::config::{Auth, Folder, Logging, Reader, Schema, Sections, Server, section};
use crate::base::db::StoreUrl;

/// All settings that the hub's roles read, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[server]`.
    pub server: Server,
    /// `[logging]`.
    pub logging: Logging,
    /// `[auth]`.
    pub auth: Auth,
    /// `[hub]`.
    pub hub: Hub,
}

/// What a role of the hub runs with.
pub type Context = crate::base::boot::Context<Settings>;

principals! {
    /// A client that sends events.
    HUB_WRITER = "hub_writer",
        token: "token of those who send events to the hub",
        file: "file with the token of those who send events to the hub";
    /// A client that looks at events and minutes. What the hub shows is asked for with a token as soon as there is any.
    HUB_READER = "hub_reader",
        token: "token of those who look at the hub's events and minutes",
        file: "file with the token of those who look at the hub's events and minutes";
}

section! {
    /// The event hub.
    pub struct Hub in "hub" {
        /// the hub's database; {shared} stands for shared.dir
        pub database: StoreUrl = parsed("sqlite://{shared}/db/hub_db.sqlite", embedded),
        /// the bus that the hub publishes its events on
        pub bus: StoreUrl = parsed("sqlite://{shared}/db/hub_bus.sqlite", embedded),
        /// port of gRPC, 0 = any free one; the hub's other port answers gRPC, too
        pub grpc_port: u16 = port_at(50_051),
        /// the types of events that are taken, with commas between
        pub event_types: BTreeSet<EventType> = parsed("purchase,return,refund", event_types),
        /// seconds that an event's timestamp may be ahead of the hub's clock
        pub future_max as "future_max_secs": Duration = secs(300, 0..=DAY_SECS),
        /// hours that an idempotency key is remembered
        pub keys_kept as "idempotency_hours": Duration = hours(24, 1..=8_760),
        /// events that may wait for the bus; beyond it posts are answered with 503
        pub backlog_max: u64 = number(100_000, 1..=100_000_000).unit("events"),
        /// days that events are kept
        pub retention as "retention_days": Duration = days(90, 1..=36_500),
        /// days that minutes are kept
        pub minutes_kept as "minutes_retention_days": Duration = days(400, 1..=36_500),
        /// whether GraphQL tells its schema to clients, as GraphiQL needs it
        pub introspection: bool = flag(true),
    }
}

impl Sections for Settings {
    fn schema() -> Schema {
        let sections = [Server::SECTION, Logging::SECTION, Folder::SECTION, Auth::SECTION, Hub::SECTION];
        Schema::new(&sections, LISTED)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        // All are read before any is missed, so that all faults are listed.
        let (server, logging, auth) = (Server::read(reader), Logging::read(reader), Auth::read(reader));
        let hub = Folder::mark(reader, Hub::read);
        Some(Self { server: server?, logging: logging?, auth: auth?, hub: hub? })
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

impl Hub {
    /// How events are taken.
    pub fn limits(&self) -> Limits {
        let rules = Rules { event_types: self.event_types.clone(), future_max: self.future_max };
        Limits { rules, keys_kept: self.keys_kept }
    }
}

fn embedded(text: &str) -> Result<StoreUrl, String> {
    match StoreUrl::parse(text)? {
        url @ StoreUrl::Sqlite(_) => Ok(url),
        StoreUrl::Mysql(_) => Err("must be sqlite://PATH".to_owned()),
    }
}

/// The types of this list. Those of the first version are always among them: its clients rely on them.
fn event_types(text: &str) -> Result<BTreeSet<EventType>, String> {
    let named = text.split(',').map(str::trim);
    let mut types = BTreeSet::new();
    for name in named.chain(EVENT_TYPES) {
        let known = EventType::new(name);
        types.insert(known.ok_or_else(|| format!("'{name}' is no type: lower-case letters, digits, _ . and -"))?);
    }
    Ok(types)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_added_to_those_that_every_client_knows() {
        let names =
            |text: &str| event_types(text).map(|types| types.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(
            names("stock.low, refund"),
            Ok(["purchase", "refund", "return", "stock.low"].map(str::to_owned).into())
        );
        assert!(names("Purchase").is_err() && names("").is_err());
    }
}
