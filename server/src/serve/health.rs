//! Health: of each dependency by its name, and of all services together.
//!
//! A service is SERVING when every dependency answers. Dependencies are asked in
//! turn, never twice at a time, and one that does not answer in time is down.

use std::{error::Error, fmt, sync::Mutex, time::Duration};

use futures::future::{BoxFuture, join_all};
use tonic_health::{ServingStatus, server::HealthReporter};

const INTERVAL: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(2);

/// The name of the server as a whole.
const OVERALL: &str = "";

type Checked = Result<(), Box<dyn Error + Send + Sync>>;

/// Something outside without which calls fail.
pub(super) struct Dependency {
    name: &'static str,
    check: Box<dyn Fn() -> BoxFuture<'static, Checked> + Send + Sync>,
}

impl fmt::Debug for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dependency").field(&self.name).finish()
    }
}

impl Dependency {
    /// Names a dependency and says how to ask it.
    pub(super) fn new<E: Error + Send + Sync + 'static>(
        name: &'static str,
        check: impl Fn() -> BoxFuture<'static, Result<(), E>> + Send + Sync + 'static,
    ) -> Self {
        let check = move || -> BoxFuture<'static, Checked> {
            let asked = check();
            Box::pin(async move { asked.await.map_err(Into::into) })
        };
        Self {
            name,
            check: Box::new(check),
        }
    }

    async fn is_up(&self) -> bool {
        match tokio::time::timeout(TIMEOUT, (self.check)()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(error = &*error as &dyn Error, "The {} does not answer", self.name);
                false
            }
            Err(_) => false,
        }
    }
}

/// What the health service answers.
pub(super) struct Health {
    reporter: HealthReporter,
    services: Vec<&'static str>,
    dependencies: Vec<Dependency>,
    /// Which dependencies were up when they were last asked.
    up: Mutex<Vec<bool>>,
}

impl Health {
    pub(super) fn new(reporter: HealthReporter, services: Vec<&'static str>, dependencies: Vec<Dependency>) -> Self {
        let up = Mutex::new(vec![true; dependencies.len()]);
        Self {
            reporter,
            services,
            dependencies,
            up,
        }
    }

    /// All are up: they were just opened.
    pub(super) async fn begin(&self) {
        for name in self.names() {
            self.reporter.set_service_status(name, ServingStatus::Serving).await;
        }
    }

    /// Asks the dependencies again and again.
    pub(super) async fn keep_checking(&self) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.check().await;
        }
    }

    async fn check(&self) {
        let now = join_all(self.dependencies.iter().map(Dependency::is_up)).await;
        self.report(now).await;
    }

    async fn report(&self, now: Vec<bool>) {
        let before = std::mem::replace(
            &mut *self.up.lock().expect("nothing panics under this lock"),
            now.clone(),
        );
        for ((dependency, now), before) in self.dependencies.iter().zip(&now).zip(&before) {
            match (before, now) {
                (true, false) => tracing::warn!("The {} does not answer", dependency.name),
                (false, true) => tracing::info!("The {} answers again", dependency.name),
                _ => continue,
            }
            self.reporter.set_service_status(dependency.name, status(*now)).await;
        }
        let all = |up: &[bool]| up.iter().all(|up| *up);
        if all(&now) != all(&before) {
            for name in self.services.iter().chain([&OVERALL]) {
                self.reporter.set_service_status(name, status(all(&now))).await;
            }
        }
    }

    /// Nothing is up any more. Streams that watch hear of it and end, so that
    /// they do not hold up the end of the server.
    pub(super) async fn end(&self) {
        let mut reporter = self.reporter.clone();
        for name in self.names() {
            reporter.set_service_status(name, ServingStatus::NotServing).await;
            reporter.clear_service_status(name).await;
            reporter.set_service_status(name, ServingStatus::NotServing).await;
        }
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        let dependencies = self.dependencies.iter().map(|dependency| dependency.name);
        self.services.iter().copied().chain(dependencies).chain([OVERALL])
    }
}

fn status(up: bool) -> ServingStatus {
    if up {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use futures::FutureExt;
    use tonic::Request;
    use tonic_health::{
        pb::{HealthCheckRequest, health_server::Health as _},
        server::HealthService,
    };

    use super::*;

    const SERVING: i32 = ServingStatus::Serving as i32;
    const NOT_SERVING: i32 = ServingStatus::NotServing as i32;

    /// A dependency that is up as long as the flag says so.
    fn switched(name: &'static str) -> (Dependency, Arc<AtomicBool>) {
        let up = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&up);
        let check = move || {
            let answer = if asked.load(Ordering::SeqCst) {
                Ok(())
            } else {
                Err(io::Error::other("down"))
            };
            std::future::ready(answer).boxed()
        };
        (Dependency::new(name, check), up)
    }

    async fn statuses(reporter: &HealthReporter, names: [&str; 4]) -> Vec<i32> {
        let service = HealthService::from_health_reporter(reporter.clone());
        let mut statuses = Vec::new();
        for name in names {
            let request = HealthCheckRequest {
                service: name.to_owned(),
            };
            statuses.push(service.check(Request::new(request)).await.unwrap().into_inner().status);
        }
        statuses
    }

    #[tokio::test]
    async fn one_dependency_that_is_down_takes_the_services_down_and_brings_them_back() {
        let (database, database_up) = switched("database");
        let (storage, _) = switched("storage");
        let reporter = HealthReporter::new();
        let health = Health::new(reporter.clone(), vec!["artifacts"], vec![database, storage]);
        let names = ["", "artifacts", "database", "storage"];
        health.begin().await;
        health.check().await;
        assert_eq!(statuses(&reporter, names).await, [SERVING; 4]);
        database_up.store(false, Ordering::SeqCst);
        health.check().await;
        assert_eq!(
            statuses(&reporter, names).await,
            [NOT_SERVING, NOT_SERVING, NOT_SERVING, SERVING]
        );
        database_up.store(true, Ordering::SeqCst);
        health.check().await;
        assert_eq!(statuses(&reporter, names).await, [SERVING; 4]);
        health.end().await;
        assert_eq!(statuses(&reporter, names).await, [NOT_SERVING; 4]);
    }

    #[tokio::test]
    async fn a_dependency_that_hangs_is_down() {
        let hangs = Dependency::new("storage", || std::future::pending::<io::Result<()>>().boxed());
        let reporter = HealthReporter::new();
        let health = Health::new(reporter.clone(), vec!["artifacts"], vec![hangs]);
        health.begin().await;
        health.check().await;
        assert_eq!(
            statuses(&reporter, ["", "artifacts", "storage", "storage"]).await,
            [NOT_SERVING; 4]
        );
    }
}
