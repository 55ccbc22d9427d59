"""Amazon ECS on Fargate: tasks are supervised processes of an image's program, services keep them running."""
