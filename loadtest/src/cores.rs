//! Which cores who is measured may use, and who measures.

#[cfg(target_os = "linux")]
pub(crate) use linux::Cores;
#[cfg(not(target_os = "linux"))]
pub(crate) use other::Cores;

#[cfg(target_os = "linux")]
mod linux {
    use anyhow::Context as _;
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// A core for the generator, and all others for the server.
    pub(crate) struct Cores {
        generator: CpuSet,
        server: CpuSet,
    }

    impl Cores {
        /// Parts the cores that this thread may use; `None` when there is only one.
        ///
        /// # Errors
        /// When the system does not tell them.
        pub(crate) fn apart() -> anyhow::Result<Option<Self>> {
            let mut server = sched_getaffinity(None).context("which cores there are is unknown")?;
            let Some(last) = (0..CpuSet::MAX_CPU).rev().find(|core| server.is_set(*core)) else { return Ok(None) };
            let mut generator = CpuSet::new();
            generator.set(last);
            server.unset(last);
            Ok((server.count() > 0).then_some(Self { generator, server }))
        }

        /// Has this thread, and what it starts from now on, use the server's.
        ///
        /// # Errors
        /// When the system refuses.
        pub(crate) fn keep_to_the_servers(&self) -> anyhow::Result<()> {
            sched_setaffinity(None, &self.server).context("the cores cannot be parted")
        }

        /// Has this thread use the generator's.
        ///
        /// # Errors
        /// When the system refuses.
        pub(crate) fn keep_to_the_generators(&self) -> anyhow::Result<()> {
            sched_setaffinity(None, &self.generator).context("the cores cannot be parted")
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    /// Cores are not parted here.
    pub(crate) enum Cores {}

    impl Cores {
        pub(crate) fn apart() -> anyhow::Result<Option<Self>> {
            Ok(None)
        }

        pub(crate) fn keep_to_the_servers(&self) -> anyhow::Result<()> {
            match *self {}
        }

        pub(crate) fn keep_to_the_generators(&self) -> anyhow::Result<()> {
            match *self {}
        }
    }
}
