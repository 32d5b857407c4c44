//! Opens what the hub's roles work with.

use std::sync::Arc;

use super::api::Api;
use super::measures::Measures;
use super::relay::Relay;
use super::service::Service;
use super::settings::Context;
use super::store::{self, HubStore};
use super::subscribe::Broadcast;
use crate::base::boot::{Exit, Failure};
use crate::base::bus::{self, Bus, Topic};
use crate::base::http::Callers;

/// The topic of the events.
const TOPIC: &str = "events";
/// Its partitions on the embedded bus: one file has one writer, and one partition keeps all events in one order.
const PARTITIONS: u32 = 1;

/// The store, the bus and the topic of the hub.
#[derive(Clone)]
pub struct Parts {
    /// What keeps the events.
    pub store: Arc<dyn HubStore>,
    /// What they are published on.
    pub bus: Arc<dyn Bus>,
    /// Where on it.
    pub topic: Topic,
}

impl Parts {
    /// Opens them, and makes what is missing.
    ///
    /// # Errors
    /// [`Failure`] when the store or the bus does not answer.
    pub async fn open(ctx: &Context) -> Result<Self, Failure> {
        let settings = &ctx.settings.hub;
        let store = store::open(&settings.database, ctx.clock.clone()).await?;
        let bus = bus::open(&settings.bus, ctx.clock.clone()).await.map_err(|e| away(&e))?;
        let topic =
            Topic::new(TOPIC, PARTITIONS).ok_or_else(|| Failure::new("the topic of the hub has no proper name"))?;
        bus.create(&topic).await.map_err(|e| away(&e))?;
        Ok(Self { store, bus, topic })
    }

    /// What the doors work with.
    pub fn api(&self, ctx: &Context) -> Api {
        let settings = &ctx.settings.hub;
        let service = Service::start(Arc::clone(&self.store), settings.limits(), ctx.clock.clone());
        let broadcast = Broadcast::start(Arc::clone(&self.bus), self.topic.clone());
        let callers = Callers::new(&ctx.settings.auth, &ctx.metrics);
        let measures = Measures::register(&ctx.metrics);
        Api::new(service, broadcast, callers, measures, settings.clone(), ctx.stop.clone())
    }

    /// A relay from the store to the bus.
    pub fn relay(&self, ctx: &Context) -> Relay {
        Relay::new(Arc::clone(&self.store), Arc::clone(&self.bus), self.topic.clone(), ctx.clock.clone())
    }
}

fn away(error: &bus::Error) -> Failure {
    Failure { exit: Exit::TryLater, message: format!("the hub's bus (hub.bus): {error}") }
}
