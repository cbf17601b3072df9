//! Any system in the laboratory. Its model says what it consists of, who asks whom and how an order is placed; a [`Plan`]
//! adds what people do with an order. A system that joins needs a plan, and a line in [`of_each_system`].

use super::{Client, Customer, Entry, LONG, Service, Site, Up, start, wait_until};
use http::Method;
use jumun::{LoadLine, ServiceModel, SystemModel};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
};

/// A system, and what its model does not say.
pub(crate) struct Plan {
    pub(crate) system: fn() -> SystemModel,
    /// The event that founds an order.
    pub(crate) founding: &'static str,
    /// What people do with an order that is placed, in this order: method, path, body.
    pub(crate) people: &'static [(Method, &'static str, &'static str)],
    /// What must be there for many orders: method, path, body.
    pub(crate) stock: Option<(Method, &'static str, &'static str)>,
    /// Services that hear of an order, and have nothing to do about it as long as it is the only one.
    pub(crate) idle: &'static [&'static str],
}

pub(crate) const FOOD_DELIVERY: Plan = Plan {
    system: food_delivery::system,
    founding: "Ordered",
    people: &[
        (Method::PUT, "/stores/{id}/cook-complete", ""),
        (Method::PUT, "/deliveries/{id}/pickup", ""),
        (Method::PUT, "/deliveries/{id}/complete", ""),
    ],
    stock: None,
    idle: &[],
};

pub(crate) const SAUCE_SHOP: Plan = Plan {
    system: sauce_shop::system,
    founding: "Ordered",
    people: &[(Method::PATCH, "/deliveries/{id}", r#"{"state":"Complete"}"#)],
    stock: None,
    idle: &[],
};

pub(crate) const BREAKFAST_MILEAGE: Plan =
    Plan { system: breakfast_mileage::system, founding: "Ordered", people: &[], stock: None, idle: &[] };

pub(crate) const COURSE_ENROLLMENT: Plan = Plan {
    system: course_enrollment::system,
    founding: "Ordered",
    people: &[(Method::PUT, "/reservations/{id}/start", "")],
    stock: None,
    idle: &[],
};

pub(crate) const BOOK_RENTAL: Plan = Plan {
    system: book_rental::system,
    founding: "Rented",
    people: &[(Method::PUT, "/rentals/{id}/return", "")],
    stock: Some((Method::PATCH, "/books/5", r#"{"stock":1000000}"#)),
    idle: &["reserve"], // nobody waits for the book
};

/// Makes a test of each of these functions for each system: they take its plan.
macro_rules! of_each_system {
    ($($play:ident)+) => {
        $crate::lab::of_system! { food_delivery FOOD_DELIVERY $($play)+ }
        $crate::lab::of_system! { sauce_shop SAUCE_SHOP $($play)+ }
        $crate::lab::of_system! { breakfast_mileage BREAKFAST_MILEAGE $($play)+ }
        $crate::lab::of_system! { course_enrollment COURSE_ENROLLMENT $($play)+ }
        $crate::lab::of_system! { book_rental BOOK_RENTAL $($play)+ }
    };
}
pub(crate) use of_each_system;

/// The same for one system.
macro_rules! of_system {
    ($system:ident $plan:ident $($play:ident)+) => {
        mod $system {
            $(
                #[tokio::test]
                async fn $play() {
                    super::$play(&$crate::lab::$plan).await;
                }
            )+
        }
    };
}
pub(crate) use of_system;

/// What somebody does with an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// The service that is told to do it.
    pub(crate) service: &'static str,
    method: Method,
    path: String,
    body: String,
}

impl Step {
    /// Whether it founds an order.
    pub(crate) fn is_founding(&self) -> bool {
        self.method == Method::POST
    }

    /// Whether it cancels one.
    pub(crate) fn is_cancel(&self) -> bool {
        self.method == Method::DELETE
    }
}

impl Plan {
    /// Its model, and the requests of its load line.
    pub(crate) fn model(&self) -> (SystemModel, LoadLine) {
        let model = (self.system)();
        let line = model.load.expect("a load line");
        (model, line)
    }

    /// It as users start it, before they do.
    pub(crate) fn prepared(&self) -> Up {
        let (model, _) = self.model();
        Up::of(model.name, &names(&model))
    }

    /// It as users start it.
    pub(crate) async fn up(&self) -> Up {
        let mut up = self.prepared();
        up.start().await;
        up
    }

    /// What somebody does: `{id}` in the path is the order's id.
    pub(crate) fn step(&self, method: &Method, path: &str, body: &str) -> Step {
        let service = service_at(&self.model().0, path).name;
        Step { service, method: method.clone(), path: path.to_owned(), body: body.to_owned() }
    }

    /// What may happen to an order, from its first step to its last one: all that people do with it, or that it is cancelled.
    pub(crate) fn ways(&self) -> [Vec<Step>; 2] {
        let (_, line) = self.model();
        let place = self.step(&Method::POST, line.path, line.body);
        let done = self.people.iter().map(|(method, path, body)| self.step(method, path, body));
        let cancel = self.step(&Method::DELETE, &format!("{}/{{id}}", line.path), "");
        [[place.clone()].into_iter().chain(done).collect(), vec![place, cancel]]
    }
}

fn names(model: &SystemModel) -> Vec<&'static str> {
    model.services.iter().map(|service| service.name).collect()
}

/// The service that serves a path.
fn service_at<'a>(model: &'a SystemModel, path: &str) -> &'a ServiceModel {
    let serves = |service: &&ServiceModel| {
        let mut paths = service.resources.iter().flat_map(jumun::ResourceModel::paths);
        paths.any(|known| path == known || path.starts_with(&format!("{known}/")))
    };
    model.services.iter().find(serves).unwrap_or_else(|| panic!("nobody serves {path}"))
}

/// A system of which each service is a process of its own.
pub(crate) struct Any {
    pub(crate) model: SystemModel,
    services: BTreeMap<&'static str, Service>,
    site: Site,
    idle: &'static [&'static str],
}

impl Deref for Any {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Any {
    /// Nothing runs yet.
    pub(crate) fn new(plan: &Plan) -> Self {
        let (model, _) = plan.model();
        let site = Site::of(model.name);
        let mut services: BTreeMap<_, _> =
            names(&model).into_iter().map(|name| (name, site.new_service(name))).collect();
        for service in &model.services {
            for ask in service.asks.iter().filter(|ask| !ask.is_external()) {
                let address = services[ask.service].address();
                let asker = services.get_mut(service.name).expect("a service");
                asker.set(format!("{}.calls.{}.url=http://{address}", service.name, ask.service));
                // Customers who insist would open the circuit before the one who died is back.
                asker.set(format!("{}.calls.{}.breaker.minimum_calls=1000000", service.name, ask.service));
            }
        }
        Self { model, services, site, idle: plan.idle }
    }

    /// Everything runs.
    pub(crate) async fn running(plan: &Plan) -> Self {
        let mut any = Self::new(plan);
        any.start_all().await;
        any
    }

    /// Starts everything that does not run.
    pub(crate) async fn start_all(&mut self) {
        start(self.services.values_mut()).await;
    }

    pub(crate) fn service(&mut self, name: &str) -> &mut Service {
        self.services.get_mut(name).unwrap_or_else(|| panic!("there is no service {name}"))
    }

    /// Somebody who talks to a service.
    pub(crate) fn client(&self, name: &str) -> Client {
        self.services[name].client()
    }

    /// The service that takes orders, those that it asks before it takes one, and those that these ask.
    pub(crate) fn chain(&self) -> Vec<&'static str> {
        let line = self.model.load.expect("a load line");
        let mut chain = vec![service_at(&self.model, line.path).name];
        while let Some(next) = self.asked_by(chain[chain.len() - 1]) {
            chain.push(next);
        }
        chain
    }

    fn asked_by(&self, name: &str) -> Option<&'static str> {
        let asks = &self.model.service(name).expect("a service").asks;
        asks.iter().find(|ask| !ask.is_external()).map(|ask| ask.service)
    }

    /// Whether orders are taken before a neighbour has answered.
    pub(crate) fn takes_orders_unanswered(&self) -> bool {
        let service = self.model.service(self.chain()[0]).expect("a service");
        service.resources.iter().any(|resource| !resource.settles.is_empty())
    }

    /// Somebody who does this, with a key.
    pub(crate) fn somebody(&self, step: &Step, id: i64) -> Customer {
        let key = uuid::Uuid::new_v4().to_string();
        let path = step.path.replace("{id}", &id.to_string());
        let customer = Customer::new(self.client(step.service), Some(key), step.method.clone(), path);
        match serde_json::from_str(&step.body) {
            Ok(body) => customer.with_body(body),
            Err(_) => customer,
        }
    }

    /// Has it done, and waits until all have heard of it. The order.
    pub(crate) async fn have_done(&mut self, step: &Step, id: i64) -> i64 {
        let somebody = self.somebody(step, id);
        self.done(step, id, somebody.insist().await)
    }

    /// The order of what somebody has done.
    pub(crate) fn done(&self, step: &Step, id: i64, told: super::Told) -> i64 {
        assert!(told.answer.status < 300, "{step:?}: {told:?}");
        let id = if step.is_founding() { told.answer.id() } else { id };
        self.wait_until_settled();
        id
    }

    /// Waits until all have heard of everything: the audit is clean.
    pub(crate) fn wait_until_settled(&self) {
        let audit = self.audit("30s");
        assert_eq!(audit.exit_code, 0, "{audit:?}\nin doubt: {:?}", self.asks());
    }

    /// The services whose events say what happens to orders: a message may be told more than once.
    fn publishers(&self) -> impl Iterator<Item = &'static str> {
        let is_of_orders = |service: &&ServiceModel| {
            !service.publishes.is_empty() && service.resources.iter().all(|resource| resource.belongs_by.is_none())
        };
        self.model.services.iter().filter(is_of_orders).map(|service| service.name)
    }

    /// All events so far, by service.
    pub(crate) fn journals(&self) -> BTreeMap<&'static str, Vec<Entry>> {
        let publishes = self.model.services.iter().filter(|service| !service.publishes.is_empty());
        publishes.map(|service| (service.name, self.journal(service.name))).collect()
    }

    /// Nothing is in doubt, the audit is clean, and each thing that happened was told once.
    pub(crate) async fn assert_the_promise(&mut self) {
        self.start_all().await;
        wait_until(LONG, "nothing is in doubt", async || self.asks().is_empty()).await;
        self.wait_until_settled();
        for service in self.publishers() {
            self.told(service); // asserts it
        }
    }

    /// Who tells and who hears of a step, measured: the services with new events, and those that listen to one of them.
    pub(crate) fn roles(
        &self,
        before: &BTreeMap<&'static str, Vec<Entry>>,
    ) -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
        let mut tell = BTreeSet::new();
        let mut told = BTreeSet::new();
        for (service, entries) in self.journals() {
            let new = &entries[before.get(service).map_or(0, Vec::len)..];
            if !new.is_empty() {
                tell.insert(service);
                told.extend(new.iter().map(|entry| (service, entry.event_type.clone())));
            }
        }
        let hears = |service: &&ServiceModel| {
            service.listens.iter().any(|event| told.contains(&(event.source, event.name.to_owned())))
        };
        let is_busy = |name: &&str| !self.idle.contains(name);
        (tell, self.model.services.iter().filter(hears).map(|service| service.name).filter(is_busy).collect())
    }

    /// A document of the view, once a field of it has this value; the whole document.
    pub(crate) async fn until(&self, path: &str, field: &str, value: &str) -> Value {
        self.client(service_at(&self.model, path).name).until(path, field, value).await
    }
}
