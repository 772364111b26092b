//! Scaffold for trying the demo out.
mod demo;

pub(crate) async fn demo(json: bool) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    demo::run(json).await
}
