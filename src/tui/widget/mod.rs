//! Pieces that several screens draw.

pub mod frame;
pub mod sheet;
