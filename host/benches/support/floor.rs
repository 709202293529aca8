//! The floor: what wasmtime alone takes for a job.

use super::process::Figures;
use anyhow::Result;
use pulse_host::sandbox::{SandboxSettings, engine};
use std::path::Path;
use wasmtime::{
    Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

wasmtime::component::bindgen!({
    path: ["../wit/host", "../wit/plugin"],
    world: "pulse:plugin/every-plugin",
    exports: { default: async },
});

struct Data {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// Runs that many jobs on the same engine settings as the host, one after the other on one thread: a store with
/// its WASI context, an instance, a call, and the drop of all that.
pub fn measure(settings: &SandboxSettings, component: &Path, jobs: u32) -> Result<Figures> {
    let engine = engine::running(settings)?;
    let component = Component::new(&engine, std::fs::read(component)?)?;
    let mut linker: Linker<Data> = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    let pre = linker
        .instantiate_pre(&component)
        .map_err(|error| anyhow::anyhow!("the no-op guest must import nothing but WASI: {error}"))?;
    let indices = exports::pulse::plugin::pulse::GuestIndices::new(&pre)?;
    let job = exports::pulse::plugin::pulse::Job {
        subject: pulse::plugin::model::Subject {
            monitor: "monitor-1".to_owned(),
            tenant: "default".to_owned(),
            labels: Vec::new(),
        },
        attempt: pulse::plugin::model::Attempt {
            number: 1,
            deadline_ms: 5000,
            scheduled_at: 0,
        },
        settings: "{}".to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let run = |count: u32| -> Result<()> {
        runtime.block_on(async {
            for _ in 0..count {
                let data = Data {
                    wasi: WasiCtx::builder().build(),
                    table: ResourceTable::new(),
                };
                let mut store = Store::new(&engine, data);
                store.set_fuel(50_000_000)?;
                store.set_epoch_deadline(1_000_000);
                let instance = pre.instantiate_async(&mut store).await?;
                let guest = indices.load(&mut store, &instance)?;
                guest
                    .call_run(&mut store, &job)
                    .await?
                    .map_err(|fault| anyhow::anyhow!("{fault:?}"))?;
            }
            Ok(())
        })
    };
    run(jobs / 10)?;
    let before = Figures::now()?;
    run(jobs)?;
    Ok(Figures::now()?.since(&before))
}
