//! The sandbox's contracts against the deployed ones: the same transactions on both, and nothing but gas may differ.

mod corpus;
mod player;
mod random;
mod scripted;
mod world;
