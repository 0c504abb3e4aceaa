/// The role of a parameter in a Perceiver.
///
/// Modules are named after the segments of Hugging Face's keys, a public format, so a path through
/// modules tells the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Learned positions of tokens or queries.
    Positions,
    /// The latent array.
    Latents,
    /// Embeddings of bytes.
    Embeddings,
    /// The linear map of image patches.
    Patches,
    /// A linear map in a layer of attention.
    Layer(Stage, Map),
    /// Anything else.
    Other,
}

/// The place of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The encoder's cross-attention.
    Encoder,
    /// Self-attention of latents.
    Latents,
    /// The decoder's cross-attention.
    Decoder,
}

/// A linear map of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Map {
    Query,
    Key,
    Value,
    /// The map after attention.
    Output,
    /// The first map of the MLP.
    MlpInput,
    /// The last map of the MLP.
    MlpOutput,
    /// Anything else.
    Other,
}

impl Role {
    /// The role of the parameter at a path through modules.
    pub(super) fn of(path: &[String]) -> Self {
        let within = |name: &str| path.iter().any(|segment| segment.ends_with(name));
        let first = |names: &[(&str, Self)]| {
            names.iter().find(|(name, _)| within(name)).map(|(_, role)| *role)
        };
        let map = [
            ("query", Map::Query),
            ("key", Map::Key),
            ("value", Map::Value),
            ("dense1", Map::MlpInput),
            ("dense2", Map::MlpOutput),
            ("output", Map::Output),
        ];
        let map = map.into_iter().find(|(name, _)| within(name)).map_or(Map::Other, |(_, map)| map);
        first(&[
            ("position_embeddings", Self::Positions),
            ("latents", Self::Latents),
            ("embeddings", Self::Embeddings),
            ("conv_after_patches", Self::Patches),
            ("decoding_cross_attention", Self::Layer(Stage::Decoder, map)),
            ("cross_attention", Self::Layer(Stage::Encoder, map)),
            ("self_attends", Self::Layer(Stage::Latents, map)),
        ])
        .unwrap_or(Self::Other)
    }
}

#[cfg(all(test, feature = "flex"))]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use burn::module::{Module, ModuleVisitor, Param};
    use burn::tensor::{Device, Tensor};
    use perceiver_models::{PerceiverConfig, PerceiverForMaskedLM, PerceiverHead};

    use super::*;

    #[derive(Default)]
    struct Roles {
        path: Vec<String>,
        roles: Vec<Role>,
    }

    impl ModuleVisitor for Roles {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
            if D == 2 {
                self.roles.push(Role::of(&self.path));
            }
        }
    }

    #[test]
    fn every_matrix_of_a_masked_language_model_has_a_role() {
        let config = r#"{"num_latents": 8, "d_latents": 64, "d_model": 64,
            "num_self_attends_per_block": 1, "max_position_embeddings": 32}"#;
        let config = PerceiverConfig::from_json(config).unwrap();
        let model = PerceiverForMaskedLM::from_config(&config, &Device::flex()).unwrap();
        let mut found = Roles::default();
        model.visit(&mut found);
        assert!(!found.roles.contains(&Role::Other), "{:?}", found.roles);
        let count = |role| found.roles.iter().filter(|found| **found == role).count();
        // Positions of tokens, and those of queries.
        assert_eq!([Role::Latents, Role::Embeddings, Role::Positions].map(count), [1, 1, 2]);
        for stage in [Stage::Encoder, Stage::Latents, Stage::Decoder] {
            let maps = [Map::Query, Map::Key, Map::Value, Map::MlpInput, Map::MlpOutput];
            assert_eq!(maps.map(|map| count(Role::Layer(stage, map))), [1; 5], "{stage:?}");
        }
    }
}
