//! Routes: which service answers a path, and what the gateway knows about it.

use crate::{config::GatewayConfig, slots::Slots, upstream::Upstreams};
use http::Method;
use jumun::{ResourceModel, SystemModel, Verb};
use jumun_http::{Shed, allowed};
use jumun_telemetry::{self as telemetry, HttpMetrics};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// All services of a system, and the routes to them.
pub(crate) struct Routes {
    services: Vec<Service>,
    routes: Vec<Route>,
}

/// A service, as the gateway knows it.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) upstreams: Upstreams,
    /// Bounds the requests in progress to all its upstreams.
    pub(crate) slots: Slots,
    /// Which of its requests are shed under overload.
    shed: Shed,
    /// Whether any of its resources takes a `PATCH`.
    has_patch: bool,
}

/// A service by its position in the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServiceIndex(usize);

/// A path, and all paths below it.
pub(crate) struct Route {
    path: &'static str,
    pub(crate) service: ServiceIndex,
    /// The resource of the path.
    resource: ResourceModel,
    /// Metrics of its requests.
    pub(crate) metrics: telemetry::Route,
}

impl Routes {
    pub(crate) fn new(
        model: &SystemModel,
        config: &GatewayConfig,
        shed: &BTreeMap<String, Shed>,
        metrics: &HttpMetrics,
    ) -> Self {
        let (mut services, mut routes) = (Vec::new(), Vec::new());
        for service in &model.services {
            for resource in &service.resources {
                routes.extend(resource.paths().map(|path| Route {
                    path,
                    service: ServiceIndex(services.len()),
                    resource: resource.clone(),
                    metrics: metrics.route("*", path),
                }));
            }
            let urls = config.upstreams.get(service.name).map(Vec::as_slice).unwrap_or_default();
            let mut commands = service.resources.iter().flat_map(|resource| &resource.commands);
            services.push(Service {
                name: service.name,
                upstreams: Upstreams::new(urls),
                slots: Slots::new(config.max_concurrent),
                shed: shed.get(service.name).copied().unwrap_or_default(),
                has_patch: commands.any(|command| command.verb == Verb::Patch),
            });
        }
        Self { services, routes }
    }

    /// The route of a path.
    pub(crate) fn find(&self, path: &str) -> Option<&Route> {
        self.routes.iter().find(|route| {
            path.strip_prefix(route.path).is_some_and(|rest| rest.is_empty() || rest.as_bytes()[0] == b'/')
        })
    }

    pub(crate) fn service(&self, ServiceIndex(index): ServiceIndex) -> &Service {
        &self.services[index]
    }

    pub(crate) fn services(&self) -> &[Service] {
        &self.services
    }

    /// Whether an event, as in `Jumun-Seen`, is that of a service of this system. A service knows only those that it hears.
    pub(crate) fn has_service_of(&self, event: &[u8]) -> bool {
        let name = event.split(|byte| *byte == b'/').next();
        self.services.iter().any(|service| name == Some(service.name.as_bytes()))
    }

    /// Every service with its paths and addresses, for the health page.
    pub(crate) fn components(&self) -> Value {
        let component = |(index, service): (usize, &Service)| {
            let paths: Vec<_> =
                self.routes.iter().filter(|route| route.service.0 == index).map(|route| route.path).collect();
            let upstreams = &service.upstreams.all;
            let addresses: Map<_, _> = upstreams
                .iter()
                .map(|upstream| (upstream.authority().to_owned(), json!(jumun_http::word(upstream.is_ready()))))
                .collect();
            let is_up = upstreams.iter().any(|upstream| upstream.is_ready());
            let details = json!({ "paths": paths, "upstreams": addresses, "atWork": service.slots.taken() });
            (service.name.to_owned(), json!({ "status": jumun_http::word(is_up), "details": details }))
        };
        Value::Object(self.services.iter().enumerate().map(component).collect())
    }
}

impl Route {
    /// The methods of a path, as `Allow` has them: what clients may send. None if there is no such path for them.
    pub(crate) fn allowed(&self, path: &str) -> Option<String> {
        let methods = allowed(&self.resource, path.strip_prefix(self.path)?)?;
        if !self.is_for_services(&Method::POST, path) {
            return Some(methods);
        }
        let methods: Vec<_> = methods.split(", ").filter(|method| *method != "POST").collect();
        (methods != ["OPTIONS"]).then(|| methods.join(", "))
    }

    /// Whether only other services may send this request, as an ask. A path may take asks and commands of clients: then
    /// headers that only services send make the difference, and the gateway removes them.
    pub(crate) fn is_for_services(&self, method: &Method, path: &str) -> bool {
        let rest = path.strip_prefix(self.path).map(|rest| rest.trim_end_matches('/'));
        let takes_clients = || self.resource.commands.iter().any(|command| command.verb == Verb::Post);
        let is_theirs = rest == Some("/void") || (rest == Some("") && !(path == self.path && takes_clients()));
        self.resource.ask.is_some() && method == Method::POST && is_theirs
    }
}

impl Service {
    /// Whether a request may end a resource, as a cancel does. A `PATCH` may: only the service can tell.
    pub(crate) fn may_end(&self, method: &Method) -> bool {
        *method == Method::DELETE || (self.has_patch && *method == Method::PATCH)
    }

    /// Whether a request is admitted although all slots are taken.
    pub(crate) fn may_exceed(&self, method: &Method) -> bool {
        self.may_end(method) && self.shed == Shed::New
    }
}
