//! What several test binaries share.

// Each test binary uses its own part of this.
#![allow(dead_code)]

pub mod deployed;
pub mod deployed_v3;
