//! The laboratory: the real program, its services as processes of their own, and what can be done to them. Each test has
//! a lab of its own: a folder, five addresses, nothing left behind. Most tests need `order` and `payment` only; the other
//! three are started where a test asks for them, and by whoever looks whether the promise is kept.

#![allow(dead_code, unused_imports, unused_macros, reason = "each test file uses a part of it")]

mod breakfast;
mod client;
mod course;
mod crowd;
mod deed;
mod evidence;
mod plan;
mod project;
mod service;
mod site;
mod up;
pub(crate) mod wire;

pub(crate) use breakfast::{Breakfast, breakfast};
pub(crate) use client::{Answer, Client, Customer, Insistent, Told, basket};
pub(crate) use course::{COURSE_SERVICES, Course, NEVER_PAID, REFUNDED, STANDS, TAKEN_BACK, application};
pub(crate) use crowd::Crowd;
pub(crate) use deed::Deed;
pub(crate) use evidence::Stations;
pub(crate) use plan::{
    Any, BOOK_RENTAL, BREAKFAST_MILEAGE, COURSE_ENROLLMENT, FOOD_DELIVERY, Plan, SAUCE_SHOP, Step, of_each_system,
    of_system,
};
pub(crate) use project::{Project, SHOP_SERVICES};
pub(crate) use service::{Service, Trap};
pub(crate) use site::{Attempt, Audit, Entry, Site};
pub(crate) use up::{Up, exists};

use std::{
    ops::Deref,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Longer than anything here takes that works.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A wait with a bound. The only place in these tests that lets time pass.
pub(crate) struct Wait<'a> {
    what: &'a str,
    bound: Duration,
    began: Instant,
}

impl<'a> Wait<'a> {
    pub(crate) fn new(bound: Duration, what: &'a str) -> Self {
        Self { what, bound, began: Instant::now() }
    }

    /// To be called between two looks.
    pub(crate) async fn a_moment(&self) {
        let Self { what, bound, began } = self;
        assert!(began.elapsed() < *bound, "in vain, for {bound:?}, was waited until {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until something is so.
pub(crate) async fn wait_until(bound: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = Wait::new(bound, what);
    while !condition().await {
        wait.a_moment().await;
    }
}

/// Lets time pass where time is the point.
pub(crate) async fn wait_for(time: Duration) {
    let began = Instant::now();
    wait_until(time + LONG, "time has passed", async || began.elapsed() >= time).await;
}

/// The system that most tests run.
const USUAL: &str = "food-delivery";

/// All services of food delivery, those without which there is no order first.
pub(crate) const SERVICES: [&str; 5] = ["payment", "order", "store", "delivery", "dashboard"];

/// The services of a system in one folder, each a field and known by its name.
macro_rules! laboratory {
    ($(#[$doc:meta])* $Lab:ident: $($service:ident)+) => {
        $(#[$doc])*
        pub(crate) struct $Lab {
            $(pub(crate) $service: Service,)+
            site: Site,
        }

        impl Deref for $Lab {
            type Target = Site;

            fn deref(&self) -> &Site {
                &self.site
            }
        }

        impl $Lab {
            /// Nothing runs yet, each setting given to the service that it begins with.
            pub(crate) fn with(settings: &[&str]) -> Self {
                let mut lab = Self::new();
                for setting in settings {
                    let (service, _) = setting.split_once('.').expect("a setting of a service");
                    lab.service(service).set(*setting);
                }
                lab
            }

            /// Everything runs.
            pub(crate) async fn all_running() -> Self {
                Self::new().all_started().await
            }

            /// The same, where everything runs now.
            pub(crate) async fn all_started(mut self) -> Self {
                self.start_all().await;
                self
            }

            /// The service of this name.
            pub(crate) fn service(&mut self, name: &str) -> &mut Service {
                match name {
                    $(stringify!($service) => &mut self.$service,)+
                    _ => panic!("there is no service {name}"),
                }
            }

            /// `kill -9` for everything that runs.
            pub(crate) fn kill_all(&mut self) {
                for service in [$(&mut self.$service),+] {
                    if service.is_alive() {
                        service.kill();
                    }
                }
            }
        }
    };
}
pub(crate) use laboratory;

laboratory! {
    /// Food delivery. The gateway runs only where a test starts it.
    Lab: order payment store delivery dashboard gateway
}

impl Lab {
    /// A lab where nothing runs yet.
    pub(crate) fn new() -> Self {
        let site = Site::of(USUAL);
        let [payment, mut order, store, delivery, dashboard] = SERVICES.map(|name| site.new_service(name));
        order.set(format!("order.calls.payment.url=http://{}", payment.address()));
        let mut gateway = site.new_service("gateway");
        for service in [&payment, &order, &store, &delivery, &dashboard] {
            gateway.set(format!("gateway.upstreams.{}=http://{}", service.name(), service.address()));
        }
        Self { order, payment, store, delivery, dashboard, gateway, site }
    }

    /// A lab where orders can be placed.
    pub(crate) async fn running() -> Self {
        Self::new().started().await
    }

    /// The same lab, where orders can be placed now.
    pub(crate) async fn started(mut self) -> Self {
        self.start().await;
        self
    }

    /// Starts what is needed to place orders and does not run.
    pub(crate) async fn start(&mut self) {
        self.start_these(&SERVICES[..2]).await;
    }

    /// Starts everything that does not run.
    pub(crate) async fn start_all(&mut self) {
        self.start_these(&SERVICES).await;
    }

    /// Starts those that do not run, side by side.
    pub(crate) async fn start_these(&mut self, names: &[&str]) {
        start(self.all().into_iter().filter(|service| names.contains(&service.name()))).await;
    }

    fn all(&mut self) -> [&mut Service; 5] {
        let Self { order, payment, store, delivery, dashboard, .. } = self;
        [payment, order, store, delivery, dashboard]
    }

    /// Stops everything that runs, as an operator would.
    pub(crate) async fn stop_all(&mut self) {
        let running: Vec<_> = SERVICES.into_iter().filter(|name| self.service(name).is_alive()).collect();
        for name in &running {
            self.service(name).terminate();
        }
        for name in &running {
            self.service(name).wait_until_ended(LONG).await;
        }
    }

    /// Gives a service's database a folder of its own, from the next start on; the folder.
    pub(crate) fn keep_elsewhere(&mut self, service: &str) -> PathBuf {
        let (folder, setting) = self.site.keep_elsewhere(service);
        self.service(service).set(setting);
        folder
    }
}

/// Starts those that do not run, side by side.
async fn start(services: impl Iterator<Item = &mut Service>) {
    let started: Vec<_> = services.filter_map(|service| service.spawn_unless_alive().then_some(service)).collect();
    for service in started {
        service.wait_until_it_listens().await;
        assert!(service.is_alive(), "{} ended when it was started", service.name());
    }
}

/// Runs a command to its end: its exit status, and what it said; its errors, if it printed nothing else.
pub(crate) fn run(command: Command) -> (i32, String) {
    let (exit_code, printed, errors) = run_apart(command);
    (exit_code, if printed.is_empty() { errors } else { printed })
}

/// Runs a command to its end: its exit status, its standard output, its standard error.
pub(crate) fn run_apart(mut command: Command) -> (i32, String, String) {
    let output = command.stdin(Stdio::null()).output().expect("a process");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}
