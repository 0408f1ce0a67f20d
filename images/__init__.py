"""The images role: accepts, keeps and removes people's images, and is the origin of their bytes."""
