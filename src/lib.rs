//! keyleash: see, give and take back the session keys of ZeroDev Kernel smart accounts.
#![forbid(unsafe_code)]

pub mod kernel;
pub mod secret;
pub mod wallet;
