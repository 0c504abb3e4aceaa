use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Replaces every parameter of a module by its gradient, which is zero if the loss does not depend on it.
#[derive(Debug)]
pub struct Gradients(GradientsParams);

impl Gradients {
    /// The gradients of a loss by the parameters of a module.
    #[must_use]
    pub fn of<M: Module>(loss: Tensor<1>, module: &M) -> Self {
        Self(GradientsParams::from_grads(loss.backward(), module))
    }
}

impl ModuleMapper for Gradients {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let gradient = self.0.remove::<D>(param.id);
        param.map(|value| gradient.unwrap_or_else(|| value.zeros_like()))
    }
}
