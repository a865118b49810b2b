"""The paper, one idea per file: classifier, cues, pseudo labels, network, losses, instances, refinement, Mask R-CNN.

- Section 3.2, instance representation: `network`, `centers`, `grouping`, `inference`
- Section 3.3, semantic knowledge transfer: `pam`, `cues`, `regions`, `transfer`, `targets`
- Section 3.4, instance-aware guidance: `losses`
- Section 3.5, self-refinement: `refinement`
- Section 4.2, implementation: `backbones`, `decoders`, `detector`, and `release` for the authors' checkpoints
"""
