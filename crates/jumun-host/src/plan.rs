//! One process of a system, put together in two steps, because the order of effects is behaviour: an operator learns of a
//! wrong setting before the process takes a port or creates a file.
//!
//! 1. [`Plan::new`] checks everything and touches neither network nor disk, but to read.
//! 2. The program opens its socket.
//! 3. [`Plan::open`] opens the disk, and [`Process::serve`] serves.

use crate::{
    config::{Config, SENDER, ServiceConfig, shown, shown_by_service},
    error::{HostError, check},
    known::{self, Known},
};
use jumun::{Behaviour, ServiceModel, SystemModel};
use jumun_bus::BusOptions;
use jumun_control::socket_in;
use jumun_gateway::{self as gateway, Gateway};
use jumun_model::openapi;
use jumun_runtime::{
    Engine, Parts, ServeError, Serving, Socket, StatusCode,
    asks::{CallConfig, DelayBudget, Guards, http::HttpTransport, messages::SenderAdapter},
    events::Retention,
    schema, serve,
};
use jumun_sender::{InvalidConfig, Kind, Sender, SenderConfig};
use jumun_telemetry::Tracer;
use std::sync::Arc;

/// A service that can be opened: its configuration is valid.
pub struct Plan<'a> {
    system: &'a SystemModel,
    service: &'a ServiceModel,
    config: &'a Config,
    own: &'a ServiceConfig,
    behaviour: Arc<dyn Behaviour>,
    guards: Guards,
    tracer: Tracer,
    /// Opened already, unless that creates a file.
    sender: Option<Arc<dyn Sender>>,
}

/// A service whose disk is open.
pub struct Process {
    engine: Engine,
    serving: Serving,
}

impl<'a> Plan<'a> {
    /// Checks the system, the settings of the service, its guards, its sender and the export of its spans. To be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// The first of them that is not valid.
    ///
    /// # Panics
    /// If the configuration is that of another system.
    pub fn new(system: &'a SystemModel, service: &'a ServiceModel, config: &'a Config) -> Result<Self, HostError> {
        check(system)?;
        let own = &config.services[service.name];
        let behaviour = service.behaviour(&own.settings)?;
        let guards = own.calls.iter().map(|(name, call)| (name.clone(), call.guard())).collect();
        let guards = Guards::new(service, &guards)?;
        let sender = own.sender.as_ref().filter(|sender| sender.kind != Kind::File);
        let sender = sender.map(|sender| open_sender(service, sender)).transpose()?;
        let tracer = match &config.telemetry {
            Some(otlp) => Tracer::start(system.name, service.name, otlp)?,
            None => Tracer::default(),
        };
        Ok(Self { system, service, config, own, behaviour, guards, tracer, sender })
    }

    /// Opens the database and the bus. `restarts` is how often a supervisor had to start the process again. `has_data`: an
    /// earlier process of this service ran on this database, so there is one, or something is wrong.
    ///
    /// # Errors
    /// Where one of them cannot be opened.
    pub async fn open(self, restarts: u32, has_data: bool) -> Result<Process, HostError> {
        let Self { system, service, config, own, behaviour, guards, tracer, sender } = self;
        let mut known = Known::of(service, config);
        let applied = known::applied(service.name, system, config).await;
        known.check_is_there(service.name, config, &applied)?;
        if has_data {
            own.database.require().map_err(HostError::TakenAway)?;
        }
        let database = own.database.open(schema(service)).map_err(|error| known.open_error(error))?;
        known.check_is_same(database.identity(), config)?;
        known.check_has_made(&applied, database.as_ref(), config).await?;
        known.note(database.identity())?;
        let kept_for = config.retention;
        let bus = config.bus.open(BusOptions { segment_max_age: kept_for.map(Retention::part_max_age) })?;
        let retention = kept_for.map(|kept_for| Retention::new(system, service, bus.clone(), kept_for));
        let url = |(name, call): (&String, &CallConfig)| Some((name.clone(), call.url.as_ref()?.uri().clone()));
        let mut transport = HttpTransport::new(own.calls.iter().filter_map(url).collect());
        let sender = match (sender, &own.sender) {
            (None, Some(config)) => Some(open_sender(service, config)?),
            (sender, _) => sender,
        };
        if let Some(sender) = sender {
            transport = transport.with_external(SENDER, Arc::new(SenderAdapter::new(sender)));
        }
        let engine = Engine::new(Parts {
            guards,
            delays: DelayBudget::new(own.calls.iter().map(|(name, call)| (name.clone(), call.delay())).collect()),
            admission: own.admission,
            shed: own.shed,
            zone: config.zone.clone(),
            tracer,
            restarts,
            ..Parts::new(service.clone(), behaviour, database, Arc::new(transport))
        });
        engine.faults().set(own.faults, None);
        let openapi = openapi::of_service(system, service, unavailable_status(config).as_u16()).to_string();
        let serving = Serving {
            services: system.services.iter().map(|service| service.name).collect(),
            unavailable_status: unavailable_status(config),
            openapi,
            bus,
            retention,
            control: socket_in(&config.folder, service.name),
            start_delay: own.faults.start_delay,
            info: jumun_http::info(system.name, service.name, shown_by_service(service, config)).to_string(),
        };
        Ok(Process { engine, serving })
    }
}

impl Process {
    /// Serves until the socket is stopped, then drains.
    ///
    /// # Errors
    /// Where the service cannot publish or cannot read the bus.
    pub async fn serve(self, socket: Socket) -> Result<(), ServeError> {
        serve(self.engine, self.serving, socket).await
    }
}

/// Serves the gateway of a system until the socket is stopped, then drains. Call [`check`] before the socket is opened.
pub async fn serve_gateway(system: &SystemModel, config: &Config, restarts: u32, socket: Socket) {
    let Socket { listener, announce, stop, .. } = socket;
    let unavailable_status = unavailable_status(config);
    let shed = config.services.iter().map(|(name, service)| (name.clone(), service.shed)).collect();
    let openapi = openapi::of_gateway(system, unavailable_status.as_u16()).to_string();
    let info = jumun_http::info(system.name, gateway::GATEWAY, shown(config)).to_string();
    let gateway = Gateway { listener, announce, stop, restarts, unavailable_status, shed, openapi, info };
    gateway::serve(system, &config.gateway, gateway).await;
}

fn unavailable_status(config: &Config) -> StatusCode {
    StatusCode::from_u16(config.unavailable_status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}

/// Opens the sender of a service. An invalid value is reported with its full key.
fn open_sender(service: &ServiceModel, config: &SenderConfig) -> Result<Arc<dyn Sender>, InvalidConfig> {
    config.open(service.texts).map_err(|error| match error {
        InvalidConfig::Value(invalid) => invalid.below(&format!("{}.{SENDER}", service.name)).into(),
        error @ InvalidConfig::Template { .. } => error,
    })
}

#[cfg(test)]
mod tests;
