"""What the operator's commands do with a Kubernetes cluster: secrets of an overlay, rendering, bringing it up."""
