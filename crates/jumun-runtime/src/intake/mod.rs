//! What a command passes before it is decided: admission, faults on demand, its turn.

pub mod admission;
pub mod faults;
pub(crate) mod turns;

pub use admission::AdmissionConfig;
pub use faults::FaultSwitch;
