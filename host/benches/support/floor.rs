//! The floor: what wasmtime alone takes for a job.

use super::process::Figures;
use anyhow::{Context as _, Result, bail};
use pulse_host::{
    clock::Clock,
    sandbox::{SandboxSettings, engine},
};
use std::{path::Path, sync::Barrier, time::Duration};
use wasmtime::{
    Engine, Store,
    component::{Component, InstancePre, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

wasmtime::component::bindgen!({
    path: ["../wit/host", "../wit/plugin"],
    world: "pulse:plugin/every-plugin",
    exports: { default: async },
});

use exports::pulse::plugin::pulse as check;

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

/// What the loop took.
pub struct Floor {
    pub jobs: u64,
    pub elapsed: Duration,
    pub used: Figures,
}

/// The loop, ready to run.
struct Bare {
    engine: Engine,
    pre: InstancePre<Data>,
    indices: check::GuestIndices,
}

/// Runs that many jobs on each of so many threads, one after the other, each thread with an engine of its own and the
/// host's settings: a
/// store with its WASI context, an instance, a call, and the drop of all that.
pub fn measure(settings: &SandboxSettings, component: &Path, jobs: u32, threads: usize) -> Result<Floor> {
    let engines = engine::running(settings)?;
    if engines.len() < threads {
        bail!("there are {} engines for {threads} threads", engines.len());
    }
    let bytes = std::fs::read(component)?;
    let bare: Result<Vec<Bare>> = engines
        .into_iter()
        .take(threads)
        .map(|engine| Bare::new(engine, &bytes))
        .collect();
    let bare = bare?;
    let clock = Clock::system();
    // Everybody is warm before anything is measured, and nobody ends before the figures were taken.
    let (warm, done, seen) = (
        Barrier::new(threads + 1),
        Barrier::new(threads + 1),
        Barrier::new(threads + 1),
    );
    std::thread::scope(|scope| {
        let (warm, done, seen) = (&warm, &done, &seen);
        let loops: Vec<_> = bare
            .iter()
            .map(|bare| {
                scope.spawn(move || {
                    let warmed = bare.run(jobs / 10);
                    warm.wait();
                    let ran = bare.run(jobs);
                    done.wait();
                    seen.wait();
                    warmed.and(ran)
                })
            })
            .collect();
        warm.wait();
        let (before, since) = (Figures::now()?, clock.mono());
        done.wait();
        let (elapsed, after) = (clock.mono().since(since), Figures::now()?);
        seen.wait();
        for thread in loops {
            thread.join().ok().context("a thread of the loop panicked")??;
        }
        Ok(Floor {
            jobs: u64::from(jobs) * threads as u64,
            elapsed,
            used: after.since(&before),
        })
    })
}

impl Bare {
    fn new(engine: Engine, bytes: &[u8]) -> Result<Self> {
        let component = Component::new(&engine, bytes)?;
        let mut linker: Linker<Data> = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        let pre = linker
            .instantiate_pre(&component)
            .map_err(|error| anyhow::anyhow!("the no-op guest must import nothing but WASI: {error}"))?;
        let indices = check::GuestIndices::new(&pre)?;
        Ok(Self { engine, pre, indices })
    }

    fn run(&self, jobs: u32) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let job = check::Job {
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
        runtime.block_on(async {
            for _ in 0..jobs {
                let data = Data {
                    wasi: WasiCtx::builder().build(),
                    table: ResourceTable::new(),
                };
                let mut store = Store::new(&self.engine, data);
                store.set_fuel(50_000_000)?;
                store.set_epoch_deadline(1_000_000);
                let instance = self.pre.instantiate_async(&mut store).await?;
                let guest = self.indices.load(&mut store, &instance)?;
                guest
                    .call_run(&mut store, &job)
                    .await?
                    .map_err(|fault| anyhow::anyhow!("{fault:?}"))?;
            }
            Ok(())
        })
    }
}
