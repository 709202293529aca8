//! The generated bindings: what the host lends, and one world per interface that a plugin can export.
//!
//! Invariant: a component exports exactly what it has. `pub_export_macro` puts the description of a world's
//! exports into its export macro, so a component gets that of the worlds whose macros it calls and no other;
//! the descriptions are united when the component is linked, and imports that nothing calls are dropped.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::all,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "generated"
)]

/// What the host lends, and the vocabulary of all kinds.
pub mod lent {
    wit_bindgen::generate!({
        path: ["wit/host", "wit/plugin"],
        inline: "package pulse:sdk-lent; world sdk-lent { include pulse:host/lent@0.1.0; import pulse:plugin/model@0.1.0; }",
        additional_derives: [PartialEq],
        generate_unused_types: true,
        generate_all,
    });
}

/// Makes the module of a world that exports one interface over the types of [`lent`].
macro_rules! exporting {
    ($module:ident, $world:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: ["wit/host", "wit/plugin"],
                inline: $world,
                additional_derives: [PartialEq],
                with: { "pulse:plugin/model@0.1.0": crate::bindings::lent::pulse::plugin::model },
                pub_export_macro: true,
                generate_unused_types: true,
            });
        }
    };
}

pub mod plugin {
    wit_bindgen::generate!({
        path: ["wit/host", "wit/plugin"],
        inline: "package pulse:sdk-plugin; world sdk-plugin { export pulse:plugin/plugin@0.1.0; }",
        pub_export_macro: true,
    });
}
exporting!(
    pulse,
    "package pulse:sdk-pulse; world sdk-pulse { export pulse:plugin/pulse@0.1.0; }"
);
exporting!(
    intervention,
    "package pulse:sdk-intervention; world sdk-intervention { export pulse:plugin/intervention@0.1.0; }"
);
exporting!(
    code,
    "package pulse:sdk-code; world sdk-code { export pulse:plugin/code@0.1.0; }"
);
