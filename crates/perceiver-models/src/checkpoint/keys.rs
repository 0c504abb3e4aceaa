//! Maps the path of a parameter in a burn module to its key in the checkpoint.

/// The names of a module's parameters in checkpoints.
///
/// Modules are named after the segments of the keys, so a path is a key, except for the rewrites
/// here and two conventions of burn: an enclosing enum variant is not a segment, and a norm's
/// `gamma` and `beta` are PyTorch's `weight` and `bias`.
#[derive(Debug, Clone, Copy)]
pub struct KeyMap {
    /// Runs of segments in a path, and their replacements in the key.
    pub rewrites: &'static [(&'static str, &'static str)],
    /// Ends of the keys of tensors without an axis, whose parameters have one axis of length 1.
    pub scalars: &'static [&'static str],
    /// Ends of the keys of tensors that the checkpoint or the module may lack, such as a count of
    /// batches, which older files do not have and which affects no result.
    pub optional: &'static [&'static str],
}

impl KeyMap {
    /// The keys of transformers' Perceiver.
    pub const PERCEIVER: Self = Self {
        rewrites: &[
            ("attention.projections", "attention.self"),
            ("attention.output", "attention.output.dense"),
            ("batchnorm.norm", "batchnorm"),
            ("positions.position_embeddings", "position_embeddings"),
            ("positions.positions_projection", "positions_projection"),
            ("queries.output.position_embeddings", "output_position_encodings"),
            ("queries.output.positions_projection", "positions_projection"),
        ],
        scalars: &["intermediate_act_fn.beta", "intermediate_act_fn.eps", "num_batches_tracked"],
        optional: &["num_batches_tracked"],
    };

    /// The key of the parameter at a path, whose segments are joined by dots.
    #[must_use]
    pub fn key(&self, path: &str) -> String {
        // With dots at both ends, the first and last segment look like the others.
        let mut key = format!(".{path}.");
        for (ours, theirs) in self.rewrites {
            key = key.replace(&format!(".{ours}."), &format!(".{theirs}."));
        }
        key[1..key.len() - 1].to_owned()
    }

    pub(super) fn is_optional(&self, key: &str) -> bool {
        self.optional.iter().any(|end| key.ends_with(end))
    }

    /// The shape in the checkpoint of a parameter of this shape.
    pub(super) fn shape(&self, key: &str, shape: Vec<usize>) -> Vec<usize> {
        if self.scalars.iter().any(|end| key.ends_with(end)) { Vec::new() } else { shape }
    }
}

/// The current place of a module traversal.
#[derive(Debug, Default)]
pub(super) struct Place {
    segments: Vec<String>,
    /// Container of each level, including enum variants, which are not segments.
    containers: Vec<String>,
}

impl Place {
    pub(super) fn enter(&mut self, name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.segments.push(name.to_owned());
        }
        self.containers.push(container.to_owned());
    }

    pub(super) fn exit(&mut self) {
        if self.containers.pop().is_some_and(|container| !container.starts_with("Enum:")) {
            self.segments.pop();
        }
    }

    /// True if the current parameter is the field `name` of a struct `owner`.
    pub(super) fn is(&self, owner: &str, name: &str) -> bool {
        self.owner() == owner && self.segments.last().is_some_and(|last| last == name)
    }

    /// The key of the current parameter.
    pub(super) fn key(&self, keys: &KeyMap) -> String {
        let parents = &self.segments[..self.segments.len().saturating_sub(1)];
        let parents = parents.iter().map(String::as_str);
        keys.key(&parents.chain([self.parameter()]).collect::<Vec<_>>().join("."))
    }

    fn parameter(&self) -> &str {
        let name = self.segments.last().map_or("", String::as_str);
        match (self.owner(), name) {
            ("LayerNorm" | "BatchNorm" | "GroupNorm", "gamma") => "weight",
            ("LayerNorm" | "BatchNorm" | "GroupNorm", "beta") => "bias",
            _ => name,
        }
    }

    fn owner(&self) -> &str {
        let container = self.containers.last().map_or("", String::as_str);
        container.strip_prefix("Struct:").unwrap_or(container)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrites_touch_whole_segments_only() {
        let keys = KeyMap::PERCEIVER;
        for (ours, theirs) in [
            (
                "encoder.self_attends.3.attention.projections.query.weight",
                "encoder.self_attends.3.attention.self.query.weight",
            ),
            (
                "encoder.cross_attention.attention.output.bias",
                "encoder.cross_attention.attention.output.dense.bias",
            ),
            ("attention.output.weight", "attention.output.dense.weight"),
            ("decoder.output.weight", "decoder.output.weight"),
            ("attention.output_norm.weight", "attention.output_norm.weight"),
            ("embeddings.latents", "embeddings.latents"),
        ] {
            assert_eq!(keys.key(ours), theirs);
        }
    }

    #[test]
    fn no_rewrite_touches_the_result_of_another() {
        let keys = KeyMap::PERCEIVER;
        for (ours, theirs) in keys.rewrites {
            assert_eq!(keys.key(&format!("a.{ours}.b")), format!("a.{theirs}.b"));
        }
    }

    #[test]
    fn only_a_norms_own_parameters_are_renamed() {
        let mut place = Place::default();
        place.enter("act", "Struct:Mlp");
        place.enter("beta", "Struct:Activation");
        assert_eq!(place.key(&KeyMap::PERCEIVER), "act.beta");
        place.exit();
        place.enter("Layer", "Enum:Norm");
        place.enter("beta", "Struct:LayerNorm");
        assert_eq!(place.key(&KeyMap::PERCEIVER), "act.bias");
    }
}
