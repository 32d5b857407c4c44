//! Suites that run on several grounds: each case is a function of a module, made into a test.

/// Makes a test of each case: `cases!(GROUND; module::{case, ..} ..)`, where GROUND is a future of what a case gets.
macro_rules! cases {
    ($ground:expr; $($module:ident::{$($case:ident),+ $(,)?})+) => {$($(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let ground = $ground.await;
            $module::$case(&ground).await;
        }
    )+)+};
}
pub(crate) use cases;
