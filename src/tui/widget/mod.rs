//! Pieces that several screens draw.

pub mod list;
pub mod sheet;
