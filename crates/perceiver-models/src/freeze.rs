use burn::module::{Module, ModuleVisitor, Param, ParamGroup};
use burn::tensor::Tensor;

/// Freezes preprocessor, latents and encoder of the [`PerceiverModel`](crate::PerceiverModel) in a
/// head's field `perceiver`, so that training changes only what comes after.
///
/// ```
/// # use burn::tensor::Device;
/// use perceiver_models::{PerceiverConfig, PerceiverForMaskedLM, PerceiverHead, freeze_encoder};
/// # fn main() -> Result<(), perceiver_models::Error> {
/// # let config = PerceiverConfig::from_json(r#"{"num_latents": 4, "d_latents": 8, "d_model": 8,
/// #     "num_self_attends_per_block": 1, "max_position_embeddings": 6}"#)?;
/// let head = PerceiverForMaskedLM::from_config(&config, &Device::flex())?;
/// let head = freeze_encoder(head);
/// # let _ = head;
/// # Ok(())
/// # }
/// ```
///
/// # Panics
/// If no parameter of the module is in such a field.
#[must_use]
pub fn freeze_encoder<M: Module>(head: M) -> M {
    let encoder = ParamGroup::from_regex(ENCODER).expect("the pattern is a regular expression");
    let mut search = Search { group: &encoder, path: Vec::new(), found: false };
    head.visit(&mut search);
    assert!(search.found, "the head has no encoder in a field `perceiver`");
    head.freeze_group(encoder)
}

/// Paths of the parameters that come before the decoder.
const ENCODER: &str = r"(^|\.)perceiver\.(input_preprocessor|embeddings|encoder)\.";

/// Looks for parameters of a group.
struct Search<'a> {
    group: &'a ParamGroup,
    path: Vec<String>,
    found: bool,
}

impl ModuleVisitor for Search<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found |= self.group.matches(&param.id, Some(&self.path.join(".")));
    }
}

#[cfg(all(test, feature = "flex", feature = "autodiff"))]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    use super::*;

    /// A module with a field `encoder`.
    #[derive(Module, Debug)]
    struct Model {
        encoder: Linear,
    }

    /// Two fields whose names end alike.
    #[derive(Module, Debug)]
    struct Head {
        perceiver: Model,
        other_perceiver: Model,
    }

    fn model() -> Model {
        Model { encoder: LinearConfig::new(2, 2).init(&Device::flex().autodiff()) }
    }

    #[test]
    fn a_field_whose_name_ends_alike_is_not_frozen() {
        let head = freeze_encoder(Head { perceiver: model(), other_perceiver: model() });
        assert!(!head.perceiver.encoder.weight.val().is_require_grad());
        assert!(head.other_perceiver.encoder.weight.val().is_require_grad());
    }

    #[test]
    #[should_panic(expected = "the head has no encoder in a field `perceiver`")]
    fn a_head_without_the_field_is_refused() {
        let _ = freeze_encoder(model());
    }
}
