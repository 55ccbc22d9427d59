"""AWS CodeBuild: projects, builds that run a buildspec's commands as processes, and the reports that they make."""
