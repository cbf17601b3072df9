//! The composition root: reads the configuration of a system and puts one of its processes together.

pub mod config;
