//! What a command passes before it is decided: admission, injected faults, its turn.

pub mod admission;
pub mod faults;
pub(crate) mod turns;

pub use admission::AdmissionConfig;
pub use faults::FaultSwitch;
