//! The pages that show this package, as doc tests.

#[doc = include_str!("../README.md")]
mod readme {}

#[doc = include_str!("../../docs/plugin-guide.md")]
mod guide {}

#[doc = include_str!("../../docs/guide/recipes.md")]
mod recipes {}
